"""Variables of NetCDF files, and of whatever else xarray opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hpcflow.digests import digest_json
from hpcflow.errors import Mismatch, MissingPackage, RunError
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.regions import Region, Shape, shape_of, size_of
from hpcflow.registry import source
from hpcflow.sources._flat import Dims, named, numbers
from hpcflow.sources._stamps import stamp

Engine = Literal["auto", "h5netcdf", "netcdf4", "scipy", "zarr"]
_LISTED = 12
"""How many of a file's variables a message names."""


@dataclass(frozen=True)
class XarraySource:
    """A variable of a data set, by its place."""

    path: str
    variable: str
    group: str
    engine: Engine
    decode: bool
    meta: Meta
    chunks: Shape | None
    """What is decoded whole; `None` where the variable lies in one piece."""
    size: int
    mtime_ns: int
    stamps: str
    """The hash of the sizes and times of all its files."""

    @property
    def identity(self) -> dict[str, Any]:
        """The place, and the sizes and times by which a change of the file, or of one of a folder's, is seen."""
        return {
            "path": self.path,
            "variable": self.variable,
            "group": self.group,
            "decode": self.decode,
            "size": self.size,
            "mtime_ns": self.mtime_ns,
            "stamps": self.stamps,
        }

    def read(self, region: Region) -> Array:
        """Decode the chunks that the region touches."""
        if size_of(region) == 0:
            return np.empty(shape_of(region), self.meta.dtype)
        if (now := _state(self.path)) != (self.size, self.mtime_ns):
            raise RunError(f"expected `{self.path}` to stay as it was, found it of {now[0]} bytes and written to")
        try:
            array = _cached(self, self.mtime_ns)
            block = array[tuple(slice(a, b) for a, b in region)].to_numpy()
        except (OSError, MissingPackage):
            raise
        except Exception as error:
            # Each engine raises whatever its library does when a chunk is damaged.
            raise RunError(f"cannot read {list(region)} of `{self.variable}` in `{self.path}`: {error}") from error
        return np.asarray(block, self.meta.dtype)

    def coordinates(self) -> Mapping[str, Array]:
        """The values along each axis that has a coordinate of its name."""
        found = _cached(self, self.mtime_ns)
        return {
            ours: found.coords[theirs].to_numpy()
            for ours, theirs in zip(self.meta.dims, found.dims, strict=True)
            if ours is not None and theirs in found.coords
        }


@source
def xarray(
    *,
    path: str,
    variable: str,
    group: str = "",
    engine: Engine = "auto",
    decode: bool = True,
    dims: Dims = None,
) -> XarraySource:
    """Read one variable of a NetCDF file, or of whatever else xarray opens; its axes keep their names.

    Needs the extra `xarray`. `hpcflow.build(flow, xarray=True)` gives the coordinates back.

    Parameters
    ----------
    path : str
        The file, or the folder of a Zarr data set, relative to the working directory.
    variable : str
        Its name in the file.
    group : str
        The group that it is in, where it is in one.
    engine : str
        What reads the file; `auto` lets xarray choose.
    decode : bool
        Whether `scale_factor`, `add_offset` and `_FillValue` are applied, which makes floats of
        packed integers. Times stay the numbers that they are stored as.
    dims : list of str, optional
        A name for each axis, in place of those in the file.

    Examples
    --------
    air: {from: xarray, path: data/air.nc, variable: air}
    """
    path = str(Path(path).absolute())
    size, mtime_ns = _state(path)
    found = _open(path, variable, group, engine, decode=decode)
    numbers(found.dtype, "variable")
    sizes = found.encoding.get("chunksizes") or found.encoding.get("chunks")
    return XarraySource(
        path=path,
        variable=variable,
        group=group,
        engine=engine,
        decode=decode,
        meta=named(found.shape, found.dtype, dims if dims is not None else [str(dim) for dim in found.dims]),
        chunks=tuple(int(n) for n in sizes) if sizes and found.ndim else None,
        size=size,
        mtime_ns=mtime_ns,
        stamps=digest_json(list(_stamps(path))),
    )


def _state(path: str) -> tuple[int, int]:
    """Size and time of a file; of a folder those of its metadata."""
    found = Path(path)
    if found.is_dir():
        documents = [found / name for name in ("zarr.json", ".zmetadata", ".zattrs") if (found / name).exists()]
        return 0, max((one.stat().st_mtime_ns for one in documents), default=0)
    status = found.stat()
    return status.st_size, status.st_mtime_ns


def _stamps(path: str) -> Iterator[tuple[str, int, int, int]]:
    """Name, size and times of a file, or of each one below a folder."""
    files = [path] if Path(path).is_file() else sorted(str(one) for one in Path(path).rglob("*") if one.is_file())
    for file in files:
        yield file.removeprefix(path), *stamp(file)


def _open(path: str, variable: str, group: str, engine: Engine, *, decode: bool) -> Any:
    """The variable, lazy; whatever the engine raises becomes one of this project's errors."""
    try:
        import xarray as library  # noqa: PLC0415  (a second)
    except ImportError as error:
        raise MissingPackage(
            '`from: xarray` needs the package `xarray`, which is not installed: `pip install "hpcflow[xarray]"`'
        ) from error
    options: dict[str, Any] = {"mask_and_scale": decode, "decode_times": False, "cache": False, "chunks": None}
    try:
        data = library.open_dataset(path, engine=None if engine == "auto" else engine, group=group or None, **options)
    except FileNotFoundError:
        raise
    except ImportError as error:
        raise MissingPackage(f'`{path}` needs a package: {error}; `pip install "hpcflow[xarray]"`') from error
    except Exception as error:
        text = str(error).partition("\n")[0].rstrip(".:")
        raise Mismatch(f"expected a file that xarray opens, found `{path}`: {text}", parameter="path") from error
    if variable not in data.variables:
        names = sorted(map(str, data.variables))
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        raise Mismatch(
            f"expected a variable `{variable}` in `{path}`, found none",
            parameter="variable",
            hint=f"it has {', '.join(f'`{name}`' for name in names[:_LISTED])}{more}" if names else "it has none",
        )
    return data[variable]


@lru_cache(maxsize=64)
def _cached(source: XarraySource, written: int) -> Any:  # noqa: ARG001  (a file that is written anew is opened anew)
    """The open variable, once in each process."""
    return _open(source.path, source.variable, source.group, source.engine, decode=source.decode)
