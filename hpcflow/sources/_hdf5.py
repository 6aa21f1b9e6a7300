"""One variable of a NetCDF-4 or any other HDF5 file, through h5py: what stands beside it is never looked at.

The C library of NetCDF ends the process over types that it does not know, such as half precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from hpcflow.errors import Mismatch

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_BLOCKS = (0, *(512 * 2**power for power in range(12)))
"""Where the signature may stand."""
_HIDDEN = "_nc4_non_coord_"
"""NetCDF's prefix of a variable that is called like an axis, and is not its coordinate."""
_LENGTH_ONLY = b"This is a netCDF dimension but not a netCDF variable"
_LISTED = 12


def is_hdf5(file: Any) -> bool:
    """Whether an open file is one of HDF5's."""
    for start in _BLOCKS:
        file.seek(start)
        found = file.read(len(SIGNATURE))
        if found == SIGNATURE or len(found) < len(SIGNATURE):
            return bool(found == SIGNATURE)
    return False


def data_set(path: str, group: str, variable: str) -> Any:
    """The data set of a variable, open.

    Raises
    ------
    Mismatch
        Where there is none that holds numbers.
    """
    import h5py  # noqa: PLC0415  (only where it is used)

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise Mismatch(f"expected an HDF5 file, found `{path}`: {error}", parameter="path") from error
    top = _at(file, group) if group.strip("/") else file
    if not isinstance(top, h5py.Group):
        raise Mismatch(f"expected a group `{group}` in `{path}`, found none", parameter="group")
    names = (variable, f"{_HIDDEN}{variable}")
    found = next((one for one in (_at(top, name) for name in names) if isinstance(one, h5py.Dataset)), None)
    if found is None or found.attrs.get("NAME", b"").startswith(_LENGTH_ONLY):
        raise Mismatch(
            f"expected a variable `{variable}` in `{path}`, found none", parameter="variable", hint=_choices(top)
        )
    # By a link or as a virtual data set it would read any HDF5 file; nobody looks whether that one has changed.
    virtual = found.is_virtual and any(one.file_name != "." for one in found.virtual_sources())
    if found.shape is None or found.external or virtual or found.file.filename != file.filename:
        what = "one without elements" if found.shape is None else "one whose numbers lie in other files"
        raise Mismatch(f"expected an array of numbers as `{variable}`, found {what}", parameter="variable")
    return found


def _at(group: Any, name: str) -> Any:
    """What stands at a name; a link that leads nowhere is nothing."""
    with suppress(KeyError, OSError, ValueError, RuntimeError):
        return group[name]
    return None


def _choices(group: Any) -> str:
    import h5py  # noqa: PLC0415

    names = sorted(name for name in group if group.get(name, getclass=True, getlink=True) is h5py.HardLink)
    names = [name.removeprefix(_HIDDEN) for name in names if isinstance(_at(group, name), h5py.Dataset)]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"it has {', '.join(f'`{name}`' for name in names[:_LISTED])}{more}" if names else "it has none"


def plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A dtype without what h5py notes beside it (the names of an enumeration)."""
    return np.dtype(dtype.str) if dtype.kind in "biufc" else dtype


def attributes(found: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Some of the attributes of a data set: numbers as NumPy's, texts as text."""
    given = {}
    for name in names:
        with suppress(KeyError, OSError, TypeError):  # of a type that h5py has no value for
            value = found.attrs[name]
            value = value[0] if isinstance(value, np.ndarray) and value.shape == (1,) else value
            given[name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return given


def dims(found: Any) -> list[str | None]:
    """The name of each axis, as far as the file has one."""
    named: list[str | None] = []
    for axis in range(found.ndim):
        scale = None
        with suppress(KeyError, OSError, RuntimeError, IndexError):
            scale = found.dims[axis][0]
        named.append(_last(scale.name) if scale is not None else None)
    if found.attrs.get("CLASS") == b"DIMENSION_SCALE" and not any(named):
        numbers = list(found.attrs.get("_Netcdf4Coordinates", ()))
        known = dict(_scales(found.parent)) if len(numbers) == found.ndim else {}
        named = [known.get(int(number)) for number in numbers] if known else named
        named = [_last(found.name)] if found.ndim == 1 else named
    return [name if named.count(name) == 1 else None for name in named]


def _scales(group: Any) -> Iterator[tuple[int, str]]:
    """The axes that NetCDF has numbered in a group and in those around it."""
    if group.parent != group:
        yield from _scales(group.parent)
    for name in group:
        one = _at(group, name)
        if getattr(one, "attrs", {}).get("CLASS") == b"DIMENSION_SCALE" and "_Netcdf4Dimid" in one.attrs:
            yield int(one.attrs["_Netcdf4Dimid"]), name.removeprefix(_HIDDEN)


def _last(name: str | None) -> str:
    return (name or "").rpartition("/")[2].removeprefix(_HIDDEN)
