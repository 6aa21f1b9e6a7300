"""Zarr arrays: version 2 and 3, in groups, sharded; in a folder, an archive or behind a URL."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hpcflow.digests import digest_file, digest_json
from hpcflow.errors import HpcflowError, Mismatch, MissingPackage, RunError
from hpcflow.files import regular_file
from hpcflow.ingest.urls import is_url, shown
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.regions import Region, Shape, shape_of, size_of
from hpcflow.registry import source
from hpcflow.schemes import localised
from hpcflow.secrets import redact
from hpcflow.sources._bounds import bound
from hpcflow.sources._flat import Dims, named, numbers
from hpcflow.sources._packing import Packing, packing
from hpcflow.sources._stores import count, stamps, store_of

Missing = Literal["warn", "error", "fill"]
SETTLING = 5.0
"""Seconds."""
_LISTED = 12
"""How many of a group's arrays a message names."""
DIMS = "_ARRAY_DIMENSIONS"
"""The attribute of version 2 by which xarray names axes."""


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
    """When the metadata, or the archive, was last written, where that can be told."""
    options: str = field(default="{}", repr=False)
    """For fsspec, as JSON; not shown, since credentials may be among them."""
    shards: Shape | None = None
    """Files that hold many chunks each, where there are such."""
    packing: Packing | None = None
    """How its numbers become values, where they are stored as others."""
    missing: Missing = "warn"

    @property
    def identity(self) -> dict[str, Any]:
        """The place, and what tells that another array was written there."""
        return {
            "path": self.path,
            "component": self.component,
            "metadata": self.metadata,
            "mtime_ns": self.written_ns,
            **({"packing": asdict(self.packing)} if self.packing else {}),
        }

    def state(self, region: Region) -> str:
        """What tells that the chunks in `region` are the same objects as before.

        Whoever writes into an array leaves its metadata alone.
        """
        return digest_json([self.identity, self._stamps(region)])

    def _stamps(self, region: Region) -> list[Any]:
        array = self._opened()
        stored = zip(region, self.shards or array.chunks, strict=True)
        keys = list(_keys(array, [range(a // n, -(-b // n)) for (a, b), n in stored]))
        found = stamps(array.store, keys)
        lost = [key for key, one in zip(keys, found, strict=True) if one is None]
        if lost and self.missing == "error":
            raise RunError(f"expected `{lost[0]}` in `{shown(self.path)}`, found it missing")
        return found

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever runs a flow should know: how many chunks are not there; asked when a flow is opened.

        Raises
        ------
        Mismatch
            Where each of them is to be there.
        """
        if self.missing == "fill":
            return ()
        array, place, what = self._opened(), _place(self.path, self.component), "shards" if self.shards else "chunks"
        counts = [-(-n // max(c, 1)) for n, c in zip(self.meta.shape, self.shards or array.chunks, strict=True)]
        total = prod(counts)
        try:
            there = count(array.store, array.path, _keys(array, [range(n) for n in counts]), total)
        except Exception as error:  # noqa: BLE001  (some servers let nobody list what they give)
            return (f"expected to count the {what} of `{place}`, found that this fails: {_first(error)}",)
        if there is None:
            return (f"expected to count the {what} of `{place}`, found too many to ask for: {total:,}",)
        if there == total:
            return ()
        found = f"{total - there:,} of {total:,} {what} missing in `{place}`"
        if self.missing == "error" or _complete(self.path, self.component):
            hint = "`missing: fill` reads its fill value there"
            raise Mismatch(f"expected every one, found {found}", parameter="path", hint=hint)
        filled = f"{array.fill_value} is read there; `missing: fill` if that is meant"
        return (f"expected every one, found {found}: {filled}",)

    def _opened(self) -> Any:
        return _cached(self.path, self.component, self.options, self.metadata, self.written_ns)

    def read(self, region: Region) -> Array:
        """Decode the chunks that the region touches."""
        if size_of(region) == 0:
            return np.empty(shape_of(region), self.meta.dtype)
        array = self._opened()
        try:
            block = array[tuple(slice(a, b) for a, b in region)]
        except OSError:
            _settle()
            raise
        except Exception as error:
            _settle()
            # Codecs raise whatever their library does when a chunk is damaged.
            raise RunError(f"cannot read {list(region)} of `{_place(self.path, self.component)}`: {error}") from error
        block = np.asarray(block).reshape(shape_of(region))
        return np.asarray(block if self.packing is None else self.packing.undo(block), self.meta.dtype)

    def coordinates(self) -> Mapping[str, Array]:
        """The values along each axis that has an array of its name beside this one."""
        found = {}
        group = self.component.rpartition("/")[0]
        theirs = _dims(self._opened()) or [None] * self.meta.ndim
        for ours, name, length in zip(self.meta.dims, theirs, self.meta.shape, strict=True):
            with suppress(HpcflowError, OSError):
                along = zarr(path=self.path, component=f"{group}/{name}".lstrip("/"), missing="fill")
                if ours is not None and name is not None and along.meta.shape == (length,):
                    found[ours] = along.read(((0, length),))
        return found


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


@source(packages=("zarr",), base=8 * 2**20)
def zarr(
    *,
    path: str,
    component: str = "",
    dims: Dims = None,
    decode: bool = True,
    missing: Missing = "warn",
    storage_options: dict[str, Any] | None = None,
) -> ZarrSource:
    """Read a Zarr array of version 2 or 3, sharded or not, from a folder, a ``.zip`` or a URL.

    Parameters
    ----------
    path : str
        A folder or a ``.zip``, relative to the working directory, or a URL (`https://`, `s3://`,
        `gs://`, `az://`).
    component : str
        The array within a group: `images/raw`.
    dims : list of str, optional
        A name for each axis; by default the names that the array itself brings
        (`dimension_names`, or xarray's `_ARRAY_DIMENSIONS`).
    decode : bool
        Whether `scale_factor`, `add_offset`, `_FillValue`, `missing_value` and `_Unsigned` among the
        attributes are applied as `xarray.open_zarr` does, which makes floats of packed integers.
        In version 2 the `fill_value` of an array that xarray has written counts as `_FillValue`, unless
        it is 0, which is what Zarr writes where nobody has chosen one.
    missing : str
        What becomes of chunks (or shards) that are not stored, and that Zarr takes for its fill value:
        ``warn`` counts them in the plan and the report, ``error`` refuses them, ``fill`` takes them
        as they are meant. An output of hpcflow stores every chunk: one that is missing from it is always
        an error, unless `fill` is asked for.
    storage_options : mapping
        For fsspec, where `path` is a URL: `{anon: true}`, `{key: "${env:KEY}"}`.

    Examples
    --------
    plane: {from: zarr, path: data/scan.zarr, component: images/raw}
    """
    if storage_options and not is_url(path):
        raise Mismatch(
            f"expected no storage options for the local path `{path}`, found some", parameter="storage_options"
        )
    path = localised(path)
    path = path if is_url(path) else str(Path(path).absolute())
    options = json.dumps((storage_options or {}) if is_url(path) else {}, sort_keys=True, default=str)
    array = _open(path, component, options)
    document = _document(array)
    numbers(array.dtype, "path")
    if 0 in array.chunks and 0 not in array.shape:
        raise Mismatch(f"expected chunks that hold something, found chunks of {tuple(array.chunks)}", parameter="path")
    attributes = dict(array.attrs)
    packed = packing(array.dtype, _filled(array, attributes)) if decode else None
    return ZarrSource(
        path=path,
        component=component,
        meta=named(array.shape, packed.values if packed else array.dtype, dims if dims is not None else _dims(array)),
        chunks=tuple(array.chunks),
        metadata=_digest(document),
        written_ns=_written(path, component),
        options=options,
        shards=tuple(array.shards) if getattr(array, "shards", None) else None,
        packing=packed,
        missing=missing,
    )


def _open(path: str, component: str, options: str) -> Any:
    """Open the array; whatever Zarr and fsspec raise becomes one of this project's errors."""
    import zarr as library  # noqa: PLC0415  (half a second)

    if not is_url(path) and not Path(path).exists():
        raise FileNotFoundError(2, "No such file or directory", path)
    try:
        store = store_of(path, options)
        found = library.open(store, path=component or None, mode="r")
        if isinstance(found, library.Array):
            # Four times: some who write into shards leave what was there before.
            store.most = 4 * bound(found)
    except library.errors.NodeNotFoundError as error:
        if component:
            raise _not_there(library, store, path, component) from error
        if is_url(path):
            raise FileNotFoundError(2, "No such file or directory", path) from error
        raise Mismatch(f"expected a Zarr array, found none in `{path}`", parameter="path") from error
    except (FileNotFoundError, Mismatch):
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
    _refuse_pickles(_document(found))
    return found


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
def _cached(path: str, component: str, options: str, metadata: str, written_ns: int) -> Any:  # noqa: ARG001
    """The open array, once in each process; an archive that is written anew is opened anew."""
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
    if is_url(path):
        return 0
    files = [Path(path, component, name) for name in ("zarr.json", ".zarray")] if Path(path).is_dir() else [Path(path)]
    return max((file.stat().st_mtime_ns for file in files if file.exists()), default=0)


def _keys(array: Any, places: list[range]) -> Iterator[str]:
    """The keys of chunks (of shards, where there are such) in the array's store."""
    root, key = f"{array.path}/" if array.path else "", array.metadata.encode_chunk_key
    return (root + key(place) for place in product(*places))


def _complete(path: str, component: str) -> bool:
    """Whether a manifest of hpcflow's says that every chunk of this array was written."""
    if is_url(path):
        return False
    try:
        place = Path(path)
        with open(place.with_name(f".{place.name}.manifest.json"), "rb", opener=regular_file) as file:
            files = json.load(file)["files"]
        name = f"{component}/zarr.json".lstrip("/")
        return bool(files[name] == digest_file(f"{path}/{name}"))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _first(error: Exception) -> str:
    return redact((str(error).splitlines() or [type(error).__name__])[0][:200])


def _filled(array: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an array; with its fill value where that stands for `_FillValue`."""
    fill = array.fill_value
    if array.metadata.zarr_format == 2 and DIMS in attributes and "_FillValue" not in attributes and fill:
        return {**attributes, "_FillValue": fill.item()}
    return attributes


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
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get(DIMS)
    if not isinstance(names, (list, tuple)) or len(names) != array.ndim:
        return None
    return [name if isinstance(name, str) and name and names.count(name) == 1 else None for name in names]
