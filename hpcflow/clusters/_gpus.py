"""The NVIDIA devices that this process may use, asked of the driver's own library (NVML).

That starts no CUDA context, takes a millisecond, and needs no package: what has none installed
can still be told what it lacks.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from hpcflow.errors import Mismatch

LIBRARY = "libnvidia-ml.so.1"


@dataclass(frozen=True)
class Gpu:
    """One device."""

    name: str
    uuid: str
    memory: int
    """Bytes in all."""


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def devices(environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The devices that CUDA would show a process with this environment, in its order.

    Raises
    ------
    OSError
        Where there is no driver, or it does not answer; says which.
    """
    nvml = ctypes.CDLL(LIBRARY)
    if status := nvml.nvmlInit_v2():
        raise OSError(f"the NVIDIA driver does not answer (NVML error {status})")
    try:
        return [_read(nvml, handle) for handle in _visible(nvml, environment.get("CUDA_VISIBLE_DEVICES"))]
    finally:
        nvml.nvmlShutdown()


def _visible(nvml: Any, chosen: str | None) -> Iterator[ctypes.c_void_p]:
    count = ctypes.c_uint()
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    names = [str(i) for i in range(count.value)] if chosen is None else [one.strip() for one in chosen.split(",")]
    for name in names:
        handle = ctypes.c_void_p()
        if name.isdecimal():
            status = nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(name)), ctypes.byref(handle))
        else:
            status = nvml.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle))
        if status:
            return  # CUDA, too, shows those before the first that does not exist
        yield handle


def _read(nvml: Any, handle: ctypes.c_void_p) -> Gpu:
    name, uuid, memory = ctypes.create_string_buffer(96), ctypes.create_string_buffer(96), _Memory()
    nvml.nvmlDeviceGetName(handle, name, ctypes.c_uint(len(name)))
    nvml.nvmlDeviceGetUUID(handle, uuid, ctypes.c_uint(len(uuid)))
    nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    return Gpu(name.value.decode(), uuid.value.decode(), memory.total)


def count(environment: Mapping[str, str] = os.environ) -> int:
    """How many devices there are; 0 where nothing says."""
    try:
        return len(devices(environment))
    except OSError:
        return 0


def look(environment: Mapping[str, str] = os.environ) -> tuple[list[Gpu], str]:
    """The devices that blocks could be computed on, and what was found in words."""
    try:
        found = devices(environment)
    except OSError as error:
        return [], "no NVIDIA driver was found" if LIBRARY in str(error) else str(error)
    if not found:
        return [], "no NVIDIA device is visible"
    if find_spec("cupy") is None:
        return [], f"{found[0].name} is there, but CuPy is not: pip install 'hpcflow[cuda]'"
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return found, f"{found[0].name}{more}"


def decide(asked: str, memory: int | None, *, here: bool, made_for_gpus: bool = False) -> dict[str, Any]:
    """What blocks are computed on, as keys of a `Profile`.

    Parameters
    ----------
    asked : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    memory : int or None
        Bytes of the smallest device, where the profile says so.
    here : bool
        Whether the workers are on this machine.
    made_for_gpus : bool
        Whether the cluster has one worker for each device, and cannot be had without.

    Raises
    ------
    Mismatch
        Where a device is asked for and there is none.
    """
    if asked == "cpu":
        return {"device": "cpu"}
    if not here:
        reason = "GPUs of other machines are used where the profile says `device: cuda`" if asked == "auto" else ""
        return {"device": "cuda" if asked == "cuda" else "cpu", "device_reason": reason, "device_memory": memory}
    found, words = look()
    if not found and (asked == "cuda" or made_for_gpus):
        raise Mismatch(f"expected an NVIDIA GPU to compute on: {words}", parameter="cluster")
    device = "cuda" if found else "cpu"
    return {
        "device": device,
        "device_reason": words if asked == "auto" else "",
        "device_memory": memory or min((gpu.memory for gpu in found), default=None) if device == "cuda" else None,
    }
