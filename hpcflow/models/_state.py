"""What stands in a file of weights: names and shapes, read without torch, without the weights, and without running any.

Training leaves weights wrapped: in a dictionary beside the state of the optimizer, with `module.` before each name.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from io import BufferedReader, BytesIO
from typing import IO, Any

from hpcflow.errors import Mismatch
from hpcflow.models._weights import opened
from hpcflow.regions import Shape

WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema", "ema", "net", "network")
"""Under what weights are kept beside other things; the first that is there is taken."""
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""What wrapping a network (in parallel, compiled, averaged, for training) puts before every name."""
LARGEST = 2**26
"""Bytes of names and shapes."""
SHOWN = 2
"""Names of each kind that a message has."""


class Tensor(tuple[int, ...]):
    """The shape of one."""

    __slots__ = ()


class _Other:
    """Anything else, of which nothing is made."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


class _Shapes(pickle._Unpickler):  # noqa: SLF001  (that in C has a memo without a bound)
    """Reads a pickle of tensors, and imports nothing."""

    foreign: str = ""
    """A class of something else."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch._utils" and name.startswith("_rebuild_tensor"):
            return lambda _storage, _offset, size, *_: Tensor(size)
        if module == "torch._utils" and name.startswith("_rebuild_parameter"):
            return lambda data, *_: data
        known = {("collections", "OrderedDict"): OrderedDict, ("torch", "Size"): tuple}
        if (module, name) not in known and module.partition(".")[0] != "torch":
            self.foreign = f"{module}.{name}"
        return known.get((module, name), _Other)

    def persistent_load(self, _: Any) -> None:
        """Nothing of a storage is read."""


def shapes_of(where: str) -> dict[str, Any]:
    """The shapes of the weights in a file, by their names.

    Raises
    ------
    Mismatch
        Where it is no file of weights, or holds other objects.
    """
    try:
        with opened(where) as file:
            return unwrapped(_read(file))
    except (FileNotFoundError, Mismatch):
        raise
    except Exception as error:  # a pickle and a ZIP that are broken raise anything at all
        raise Mismatch(f"expected a state dict in `{where}`, found {_kind(error)}", parameter="weights") from error


def _kind(error: Exception) -> str:
    return str(error) if isinstance(error, pickle.UnpicklingError) else "a file that is none"


def _read(file: BufferedReader) -> Mapping[str, Any]:
    start = file.read(9)
    file.seek(0)
    if start.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(file) as archive:
            (member,) = [one for one in archive.infolist() if one.filename.endswith("/data.pkl")]
            return _unpickled(BytesIO(archive.open(member).read(LARGEST)), 1)
    if start[8:] == b"{":
        size = int.from_bytes(start[:8], "little")
        header = json.loads(file.read(8 + min(size, LARGEST))[8:])
        return {name: Tensor(one["shape"]) for name, one in header.items() if name != "__metadata__"}
    return _unpickled(file, 4)  # torch before 1.6: a number, a version and a machine go before


def _unpickled(file: IO[bytes], count: int) -> Mapping[str, Any]:
    for _ in range(count):
        reader = _Shapes(file)
        found = reader.load()
    if reader.foreign:
        raise pickle.UnpicklingError(f"Python objects beside tensors (`{reader.foreign}`), which are never loaded")
    if not isinstance(found, Mapping):
        raise pickle.UnpicklingError(f"{type(found).__name__} in place of names and tensors")
    return found


def unwrapped(state: Mapping[str, Any]) -> dict[str, Any]:
    """The weights alone, under the names that the network itself has for them."""
    while (inner := next((state[k] for k in WRAPPERS if isinstance(state.get(k), Mapping)), None)) is not None:
        state = inner
    state = {str(name): value for name, value in state.items() if name != "n_averaged"}
    while prefix := next((one for one in PREFIXES if state and all(name.startswith(one) for name in state)), ""):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return dict(state)


def expect_fit(network: str, where: str, found: Mapping[str, Any], expected: Mapping[str, Shape]) -> None:
    """Refuse weights of another network; raises `Mismatch`."""
    other = [
        f"`{name}` {tuple(found[name])} for {shape}"
        for name, shape in expected.items()
        if isinstance(found.get(name), Tensor) and tuple(found[name]) != tuple(shape)
    ]
    absent = [name for name in expected if not isinstance(found.get(name), Tensor)]
    missing = [f"`{name}`" for name in absent if not name.endswith("num_batches_tracked")]
    unknown = [f"`{name}`" for name in found if name not in expected]
    kinds = {"of another shape": other, "missing": missing, "unknown": unknown}
    parts = [f"{len(names)} {kind} ({_some(names)})" for kind, names in kinds.items() if names]
    if parts:
        raise Mismatch(
            f"expected the {len(expected)} weights of `{network}` in `{where}`, found {'; '.join(parts)}",
            parameter="weights",
            hint="a network of another kind, or for other classes, runs from a file of its own (`model: path.pt2`)",
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:SHOWN], *(["…"] if len(names) > SHOWN else [])])
