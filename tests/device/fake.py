"""CuPy's face with NumPy behind it: moves, streams and room for arrays as on a device, kernels compiled by g++.

What the runner does with a device is then what it does with CuPy, on a machine that has none.
"""

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
import threading
import weakref
from pathlib import Path

import numpy as np

SHIM = """\
#include <cmath>
using namespace std;
#define __global__
struct Place { unsigned x; };
template <class To, class From> static To bits(From value) {
    To made;
    __builtin_memcpy(&made, &value, sizeof made);
    return made;
}
static float __int_as_float(unsigned value) { return bits<float>(value); }
static double __longlong_as_double(unsigned long long value) { return bits<double>(value); }
static thread_local Place blockIdx, threadIdx, blockDim, gridDim;
"""
CALL = """
extern "C" void launch(unsigned grid, unsigned block, void** a) {{
    gridDim.x = grid; blockDim.x = block;
    for (blockIdx.x = 0; blockIdx.x < grid; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < block; threadIdx.x++) kernel({arguments});
}}
"""
_folder = Path(tempfile.gettempdir()) / "hpcflow-test-kernels"


def compiles():
    """Whether kernels can be compiled here."""
    return shutil.which("g++") is not None


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


class Pinned(bytearray):
    """Page-locked memory, which can be watched."""


class FakeArray(np.ndarray):
    """An array of the device: it comes from there by `get`, and by nothing else that is looked at."""

    def get(self, out=None):
        plain = self.view(np.ndarray)
        if out is None:
            return plain.copy()
        assert out.flags.c_contiguous
        out[...] = plain
        return out

    def set(self, staged):
        assert isinstance(staged.base, Pinned), "copied from memory that is not page-locked"
        assert staged.flags.c_contiguous
        stream = Stream.current()
        assert stream is not None, "copied on no stream"
        stream.pending.append(weakref.ref(staged.base))
        stream.xp.events.append(("copy", threading.get_ident()))
        self.view(np.ndarray)[...] = staged


class Stream:
    """A stream that holds whoever uses it to keeping what is copied until it is done."""

    _thread = threading.local()

    def __init__(self, xp):
        self.xp = xp
        self.pending = []

    @classmethod
    def current(cls):
        return getattr(cls._thread, "stream", None)

    def __enter__(self):
        self.before, self._thread.stream = self.current(), self
        return self

    def __exit__(self, *_):
        self._thread.stream = self.before

    def synchronize(self):
        assert all(one() is not None for one in self.pending), "memory was let go while it was copied"
        self.pending.clear()


class Kernel:
    """CUDA's text, as C++ for this processor."""

    def __init__(self, source, name, options=()):
        assert name == "kernel"
        head = source[source.index("(") + 1 : source.index(") {")]
        names = [one.strip() for one in head.split(",")]
        kinds = [one.rpartition(" ")[0] for one in names]
        given = ", ".join(
            f"({kind})a[{i}]" if kind.endswith("*") else f"*({kind}*)a[{i}]" for i, kind in enumerate(kinds)
        )
        text = SHIM + source + CALL.format(arguments=given)
        _folder.mkdir(exist_ok=True)
        path = _folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=_folder) as scratch:
                (Path(scratch) / "kernel.cpp").write_text(text)
                command = ["g++", "-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-w"]
                subprocess.run([*command, "-o", f"{scratch}/kernel.so", f"{scratch}/kernel.cpp"], check=True)
                Path(scratch, "kernel.so").replace(path)
        self.run = ctypes.CDLL(str(path)).launch

    def __call__(self, grid, block, arguments):
        # A scalar is passed by its place too.
        arrays = [one if isinstance(one, np.ndarray) else np.array([one]) for one in arguments]
        pointers = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
        self.run(grid[0], block[0], pointers)


class FakeCupy:
    """Stands in for the module `cupy`."""

    __name__ = "numpy"  # so that `companion` finds SciPy

    def __init__(self, room=2**62):
        self.room = room
        self.events = []
        self.freed = 0
        self.kernels = 0
        self.cuda = self
        self.lock = threading.Lock()

    def alloc_pinned_memory(self, size):
        return Pinned(size)

    def Stream(self, non_blocking):  # noqa: N802  (CuPy's name)
        assert non_blocking
        return Stream(self)

    def RawKernel(self, source, name, options=()):  # noqa: N802  (CuPy's name)
        self.kernels += 1
        return Kernel(source, name, options)

    def get_default_memory_pool(self):
        return self

    def free_all_blocks(self):
        self.freed += 1

    def empty(self, shape, dtype):
        self._fits(np.dtype(dtype).itemsize * int(np.prod(shape)))
        return np.full(shape, 77).astype(dtype).view(FakeArray)

    def _fits(self, nbytes):
        if nbytes > self.room:
            raise OutOfMemoryError(f"Out of memory allocating {nbytes} bytes")

    def __getattr__(self, name):
        found = getattr(np, name)
        if isinstance(found, type) or not callable(found):
            return found

        def run(*args, **kwargs):
            result = found(*args, **kwargs)
            if isinstance(result, np.ndarray):
                self._fits(result.nbytes)
                return result.view(FakeArray)
            return result

        return run
