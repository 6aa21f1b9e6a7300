"""Variables of NetCDF and HDF5 files, and of Zarr as xarray writes it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from hpcflow.errors import Mismatch, MissingPackage, RunError
from hpcflow.files import regular_file
from hpcflow.meta import Meta
from hpcflow.namespace import Array
from hpcflow.regions import Region, Shape, shape_of, size_of
from hpcflow.registry import source
from hpcflow.schemes import local_path
from hpcflow.sources import _hdf5
from hpcflow.sources._flat import Dims, named, numbers
from hpcflow.sources._packing import ATTRIBUTES, Packing, packing
from hpcflow.sources._stamps import stamp
from hpcflow.sources.zarr import ZarrSource, zarr

Engine = Literal["auto", "h5netcdf", "netcdf4", "scipy", "zarr"]
CLASSIC = (b"CDF\x01", b"CDF\x02")
AT_ONCE = 3
"""Copies of a chunk while it is decoded, HDF5's own among them; measured."""
_LISTED = 12
"""How many of a file's variables a message names."""


@dataclass(frozen=True)
class XarraySource:
    """A variable of a NetCDF or HDF5 file, by its place."""

    path: str
    variable: str
    group: str
    decode: bool
    meta: Meta
    chunks: Shape | None
    """What is decoded whole; `None` where the variable lies in one piece."""
    hdf5: bool
    packing: Packing | None
    """How its numbers become values; of a classic file xarray itself decodes them."""
    stamp: tuple[int, int, int]
    """Size and times of the file."""

    @property
    def identity(self) -> dict[str, Any]:
        """The place, and the size and times by which a change of the file is seen."""
        return {
            "path": self.path,
            "variable": self.variable,
            "group": self.group,
            "decode": self.decode,
            "stamp": list(self.stamp),
        }

    def read(self, region: Region) -> Array:
        """Decode the chunks that the region touches."""
        if size_of(region) == 0:
            return np.empty(shape_of(region), self.meta.dtype)
        if (now := stamp(self.path)) != self.stamp:
            raise RunError(f"expected `{self.path}` to stay as it was, found it of {now[0]} bytes and written to")
        part = tuple(slice(a, b) for a, b in region)
        try:
            found = _cached(self)
            block = np.asarray(found[part]) if self.hdf5 else found[part].to_numpy()
        except (OSError, MissingPackage):
            raise
        except Exception as error:
            # Each engine raises whatever its library does when a chunk is damaged.
            raise RunError(f"cannot read {list(region)} of `{self.variable}` in `{self.path}`: {error}") from error
        return np.asarray(block if self.packing is None else self.packing.undo(block), self.meta.dtype)

    def resident(self, region: Region) -> int:
        """Bytes of memory that reading a region takes: its values, and the numbers that they are made of."""
        stored = self.meta.dtype if self.packing is None else self.packing.stored
        return size_of(region) * (self.meta.dtype.itemsize + stored.itemsize)

    def beside(self, region: Region) -> int:
        """Bytes held beside a region while it is decoded: copies of a chunk, and the numbers as they are stored."""
        return AT_ONCE * prod(self.chunks or ()) * self.meta.dtype.itemsize + self.resident(region)

    @property
    def packages(self) -> tuple[str, ...]:
        """What reading imports."""
        return ("h5py",) if self.hdf5 else ("xarray", "scipy.io")

    def coordinates(self) -> Mapping[str, Array]:
        """The values along each axis that has a coordinate of its name."""
        found = _cached(self)
        theirs = _hdf5.dims(found) if self.hdf5 else [str(dim) for dim in found.dims]
        values = {}
        for ours, name, length in zip(self.meta.dims, theirs, self.meta.shape, strict=True):
            if ours is None or name is None:
                continue
            with suppress(Mismatch):
                along = _opened(self.path, name, self.group, decode=self.decode)
                if along.meta.shape == (length,):
                    values[ours] = along.read(((0, length),))
        return values


@source(base=8 * 2**20)
def xarray(
    *,
    path: str,
    variable: str,
    group: str = "",
    engine: Engine = "auto",
    decode: bool = True,
    dims: Dims = None,
) -> XarraySource | ZarrSource:
    """Read one variable of a NetCDF, HDF5 or Zarr data set, as xarray does; its axes keep their names.

    Needs the extra `xarray`. `hpcflow.build(flow, xarray=True)` gives the coordinates back. Only the
    variable that is asked for is looked at: others beside it may be of any type.

    Parameters
    ----------
    path : str
        The file, or the folder or ``.zip`` of a Zarr data set, relative to the working directory.
    variable : str
        Its name in the file.
    group : str
        The group that it is in, where it is in one.
    engine : str
        What the file is: `zarr`, `h5netcdf` or `netcdf4` (HDF5, NetCDF-4), `scipy` (classic NetCDF); `auto`
        looks. HDF5 is always read through h5py, since the C library of NetCDF crashes over some types.
    decode : bool
        Whether `scale_factor`, `add_offset`, `_FillValue`, `missing_value` and `_Unsigned` are applied,
        which makes floats of packed integers. Times stay the numbers that they are stored as.
    dims : list of str, optional
        A name for each axis, in place of those in the file.

    Examples
    --------
    air: {from: xarray, path: data/air.nc, variable: air}
    """
    if find_spec("xarray") is None:
        raise MissingPackage(
            '`from: xarray` needs the package `xarray`, which is not installed: `pip install "hpcflow[xarray]"`'
        )
    path = local_path(path)
    if engine == "zarr" or (engine == "auto" and (Path(path).is_dir() or path.endswith(".zip"))):
        return _of_zarr(path, variable, group, decode=decode, dims=dims)
    return _opened(path, variable, group, decode=decode, dims=dims)


def _of_zarr(path: str, variable: str, group: str, *, decode: bool, dims: Dims) -> ZarrSource:
    try:
        return zarr(
            path=path,
            component="/".join([*group.strip("/").split("/"), variable]).lstrip("/"),
            decode=decode,
            dims=dims,
        )
    except Mismatch as error:
        if error.parameter != "component":
            raise
        hint = error.hint.replace("arrays as `component`", "arrays as `variable`")
        raise Mismatch(
            f"expected a variable `{variable}` in `{path}`, found none", parameter="variable", hint=hint
        ) from None


def _opened(path: str, variable: str, group: str, *, decode: bool, dims: Dims = None) -> XarraySource:
    """Open a variable of a file: its metadata only."""
    with open(path, "rb", opener=regular_file) as file:
        hdf5, classic = _hdf5.is_hdf5(file), _start(file) in CLASSIC
    if not hdf5 and not classic:
        raise Mismatch(
            f"expected a file that xarray opens, found `{path}`: neither HDF5 nor classic NetCDF",
            parameter="path",
            hint="`nccopy -k nc4 FILE NEW` brings other kinds of NetCDF into HDF5",
        )
    seen = stamp(path)
    packed = None
    try:
        found = _hdf5.data_set(path, group, variable) if hdf5 else _of_classic(path, variable, group, decode=decode)
    except ImportError as error:
        raise MissingPackage(f'`{path}` needs a package: {error}; `pip install "hpcflow[xarray]"`') from error
    dtype = _hdf5.plain(found.dtype)
    numbers(dtype, "variable")
    if hdf5:
        packed = packing(dtype, _hdf5.attributes(found, (*ATTRIBUTES, "dtype"))) if decode else None
        sizes, names = found.chunks, _hdf5.dims(found)
    else:
        sizes, names = found.encoding.get("chunksizes"), [str(dim) for dim in found.dims]
    return XarraySource(
        path=path,
        variable=variable,
        group=group,
        decode=decode,
        meta=named(found.shape, packed.values if packed else dtype, dims if dims is not None else names),
        chunks=tuple(int(n) for n in sizes) if sizes and found.ndim else None,
        hdf5=hdf5,
        packing=packed,
        stamp=seen,
    )


def _start(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(4)


def _of_classic(path: str, variable: str, group: str, *, decode: bool) -> Any:
    """The variable, lazy; whatever the engine raises becomes one of this project's errors."""
    import xarray as library  # noqa: PLC0415  (a second)

    options: dict[str, Any] = {"mask_and_scale": decode, "decode_times": False, "cache": False, "chunks": None}
    try:
        data = library.open_dataset(path, engine="scipy", group=group or None, **options)
    except (FileNotFoundError, ImportError):
        raise
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
def _cached(source: XarraySource) -> Any:
    """The open variable, once in each process; a file that is written anew is another source."""
    if source.hdf5:
        return _hdf5.data_set(source.path, source.group, source.variable)
    return _of_classic(source.path, source.variable, source.group, decode=source.decode)
