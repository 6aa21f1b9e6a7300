"""Zarr arrays: version 2 and 3, in groups, sharded, local or behind a URL."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from hpcflow.digests import digest_json
from hpcflow.errors import Mismatch, MissingPackage, RunError
from hpcflow.ingest.urls import WEB, scheme
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.regions import Region, Shape, shape_of, size_of
from hpcflow.registry import source
from hpcflow.secrets import reveal
from hpcflow.sources._flat import Dims, named, numbers
from hpcflow.sources._stamps import stamp

SETTLING = 5.0
"""Seconds."""
_LISTED = 12
"""How many of a group's arrays a message names."""


@dataclass(frozen=True)
class ZarrSource:
    """A Zarr array, by its place."""

    path: str
    """An absolute path, or a URL."""
    component: str
    meta: Meta
    chunks: Shape | None
    """What is decoded whole: the chunks, within a shard the inner ones."""
    metadata: str
    """The hash of the array's metadata document."""
    written_ns: int
    """When the metadata was last written, where that can be told."""
    options: str = field(default="{}", repr=False)
    """For fsspec, as JSON; not shown, since credentials may be among them."""
    shards: Shape | None = None
    """Files that hold many chunks each, where there are such."""

    @property
    def identity(self) -> dict[str, Any]:
        """The place, and what tells that another array was written there."""
        return {
            "path": self.path,
            "component": self.component,
            "metadata": self.metadata,
            "mtime_ns": self.written_ns,
        }

    def state(self, region: Region) -> str:
        """What tells that the chunks in `region` are the same files as before; of those behind a URL nothing is asked.

        Whoever writes into an array leaves its metadata alone.
        """
        if "://" in self.path:
            return digest_json(self.identity)
        array = _cached(self.path, self.component, self.options, self.metadata)
        if Path(self.path).is_file():  # an archive
            return digest_json([self.identity, _stamp(self.path)])
        stored = zip(region, self.shards or array.chunks, strict=True)
        touched = product(*(range(a // n, -(-b // n)) for (a, b), n in stored))
        key = array.metadata.encode_chunk_key
        root = f"{self.path}/{array.path}" if array.path else self.path
        return digest_json([self.identity, [_stamp(f"{root}/{key(place)}") for place in touched]])

    def read(self, region: Region) -> Array:
        """Decode the chunks that the region touches."""
        if size_of(region) == 0:
            return np.empty(shape_of(region), self.meta.dtype)
        array = _cached(self.path, self.component, self.options, self.metadata)
        try:
            block = array[tuple(slice(a, b) for a, b in region)]
        except OSError:
            _settle()
            raise
        except Exception as error:
            _settle()
            # Codecs raise whatever their library does when a chunk is damaged.
            raise RunError(f"cannot read {list(region)} of `{_place(self.path, self.component)}`: {error}") from error
        return np.asarray(block, self.meta.dtype).reshape(shape_of(region))


def _stamp(path: str) -> tuple[int, int, int]:
    """Size and times of a file; those of one that is not there are negative."""
    try:
        return stamp(path)
    except FileNotFoundError:
        return -1, -1, -1


def _settle() -> None:
    """Let the other chunks of a read that failed come to their end.

    Zarr leaves them on its event loop, where they would fail noisily when the process ends.
    """
    from zarr.core.sync import sync  # noqa: PLC0415

    async def others() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=SETTLING)

    with suppress(Exception):
        sync(others())


@source
def zarr(
    *, path: str, component: str = "", dims: Dims = None, storage_options: dict[str, Any] | None = None
) -> ZarrSource:
    """Read a Zarr array of version 2 or 3, sharded or not, from a folder or a URL.

    Parameters
    ----------
    path : str
        A folder, relative to the working directory, or any URL that fsspec knows
        (`https://`, `s3://`, `gs://`).
    component : str
        The array within a group: `images/raw`.
    dims : list of str, optional
        A name for each axis; by default the names that the array itself brings
        (`dimension_names`, or xarray's `_ARRAY_DIMENSIONS`).
    storage_options : mapping, optional
        For fsspec, where `path` is a URL: `{anon: true}`, `{key: "${env:KEY}"}`.

    Examples
    --------
    plane: {from: zarr, path: data/scan.zarr, component: images/raw}
    """
    if storage_options and "://" not in path:
        raise Mismatch(
            f"expected no storage options for the local path `{path}`, found some", parameter="storage_options"
        )
    path = path if "://" in path else str(Path(path).absolute())
    options = json.dumps(storage_options or {}, sort_keys=True, default=str)
    array = _open(path, component, options)
    document = _document(array)
    _refuse_pickles(document)
    numbers(array.dtype, "path")
    return ZarrSource(
        path=path,
        component=component,
        meta=named(array.shape, array.dtype, dims if dims is not None else _dims(array)),
        chunks=tuple(array.chunks),
        metadata=_digest(document),
        written_ns=_written(path, component),
        options=options,
        shards=tuple(array.shards) if getattr(array, "shards", None) else None,
    )


def _open(path: str, component: str, options: str) -> Any:
    """Open the array; whatever Zarr and fsspec raise becomes one of this project's errors."""
    import zarr as library  # noqa: PLC0415  (half a second)

    if "://" not in path and not Path(path).exists():
        raise FileNotFoundError(2, "No such file or directory", path)
    try:
        store = _store(library, path, options)
        found = library.open(store, path=component or None, mode="r")
    except library.errors.NodeNotFoundError as error:
        if component:
            raise _not_there(library, store, path, component) from error
        if "://" in path:
            raise FileNotFoundError(2, "No such file or directory", path) from error
        raise Mismatch(f"expected a Zarr array, found none in `{path}`", parameter="path") from error
    except FileNotFoundError:
        raise
    except ImportError as error:
        raise MissingPackage(f"`{path}` needs a package that is not installed: {error}") from error
    except Exception as error:
        # fsspec's file systems raise whatever the library behind them does.
        raise Mismatch(
            f"expected a Zarr array that can be opened, found {type(error).__name__}: {error}", parameter="path"
        ) from error
    if isinstance(found, library.Group):
        raise Mismatch(
            f"expected an array, found a group in `{_place(path, component)}`",
            parameter="component" if component else "path",
            hint=_choices(found, component),
        )
    return found


def _store(library: Any, path: str, options: str) -> Any:
    """The folder, or a store of fsspec's: which URLs `zarr.open` itself takes options for differs by release."""
    if "://" not in path:
        return path
    given: dict[str, Any] = reveal(json.loads(options), options=True)
    if scheme(path) in WEB:
        from hpcflow.ingest.chunks import client_for  # noqa: PLC0415  (aiohttp: only where something is fetched)

        given = {**given, "get_client": client_for(reveal(path))}
    return library.storage.FsspecStore.from_url(reveal(path), given, read_only=True)


def _not_there(library: Any, store: Any, path: str, component: str) -> Mismatch:
    try:
        hint = _choices(library.open_group(store, mode="r"), "")
    except Exception:  # noqa: BLE001  (the hint is only an extra)
        hint = ""
    return Mismatch(f"expected an array `{component}` in `{path}`, found none", parameter="component", hint=hint)


def _choices(group: Any, prefix: str) -> str:
    """A hint that names the arrays below a group."""
    names = sorted(
        f"{prefix}/{name}".lstrip("/") for name, node in group.members(max_depth=None) if hasattr(node, "chunks")
    )
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    listed = ", ".join(f'"{name}"' for name in names[:_LISTED])
    return f"give one of its arrays as `component`: {listed}{more}" if names else "it holds no arrays"


def _place(path: str, component: str) -> str:
    return f"{path}/{component}" if component else path


@lru_cache(maxsize=64)
def _cached(path: str, component: str, options: str, metadata: str) -> Any:
    """The open array, once in each process."""
    array = _open(path, component, options)
    if _digest(_document(array)) != metadata:
        raise RunError(f"expected `{_place(path, component)}` to stay as it was, found other metadata")
    return array


def _document(array: Any) -> dict[str, Any]:
    """The metadata as it is stored: one JSON document, or two for version 2."""
    from zarr.core.buffer import default_buffer_prototype  # noqa: PLC0415

    stored = array.metadata.to_buffer_dict(default_buffer_prototype())
    return {name: json.loads(content.to_bytes()) for name, content in stored.items()}


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32]


def _written(path: str, component: str) -> int:
    if "://" in path:
        return 0
    files = (Path(path, component, name) for name in ("zarr.json", ".zarray"))
    return max((file.stat().st_mtime_ns for file in files if file.exists()), default=0)


def _refuse_pickles(document: dict[str, Any]) -> None:
    array = document.get("zarr.json", document.get(".zarray", {}))
    for codec in _codec_names([array.get(part) for part in ("codecs", "compressor", "filters")]):
        if codec.rpartition(".")[2] == "pickle":
            raise Mismatch(
                "expected an array of numbers, found one stored as pickles",
                parameter="path",
                hint="pickles are never read, since reading one runs code that the file brings",
            )


def _codec_names(codecs: Any) -> Iterator[str]:
    """Every `id` (version 2) and `name` (version 3) in a list of codecs, those within shards too."""
    if isinstance(codecs, dict):
        yield from (str(codecs[key]) for key in ("id", "name") if key in codecs)
        for one in codecs.values():
            yield from _codec_names(one)
    elif isinstance(codecs, list):
        for one in codecs:
            yield from _codec_names(one)


def _dims(array: Any) -> list[str | None] | None:
    """The names that the array brings; a name that stands for two axes counts for none."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, (list, tuple)) or len(names) != array.ndim:
        return None
    return [name if isinstance(name, str) and name and names.count(name) == 1 else None for name in names]
