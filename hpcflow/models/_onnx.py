"""Networks under ONNX Runtime, and their quantisation to 8 bits; imported only when one is loaded."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from hpcflow.digests import digest
from hpcflow.models._kept import kept
from hpcflow.models.base import Network
from hpcflow.namespace import Array

STEM = 16
"""One of so many convolutions stays in float32."""


def load(path: Path) -> Network:
    """The network in this file, on the calling thread."""
    options = onnxruntime.SessionOptions()
    # A block has one thread; several blocks share the session.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # It would move quantisation ahead of a pooling, which is slow in 8 bits: a fifth of ResNet-18's time.
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=["QDQPropagationTransformer"]
    )
    (taken,) = session.get_inputs()
    size = taken.shape[0] if isinstance(taken.shape[0], int) else None

    def once(batch: Array) -> Array:
        return session.run(None, {taken.name: batch})[0]

    def run(batch: Array) -> Array:
        if size is None:
            return once(np.ascontiguousarray(batch))
        pieces = [_filled(batch[start : start + size], size) for start in range(0, len(batch), size)]
        return np.concatenate([once(piece) for piece in pieces])[: len(batch)]

    return run


def _filled(piece: Array, size: int) -> Array:
    """The items, the last repeated up to the batch that the network was made for."""
    return np.concatenate([piece, *[piece[-1:]] * (size - len(piece))])


def calibrated(path: Path, batches: Iterable[Array]) -> str:
    """The range of every tensor of a network over some batches, as JSON."""
    from onnxruntime.quantization import CalibrationMethod, create_calibrator  # noqa: PLC0415  (slow)

    with tempfile.TemporaryDirectory() as scratch:
        augmented = str(Path(scratch, "augmented.onnx"))
        calibrator = create_calibrator(path, augmented_model_path=augmented, calibrate_method=CalibrationMethod.MinMax)
        calibrator.collect_data(_Batches(_input(path), batches))
        ranges = calibrator.compute_data()
    # Four digits: another processor's rounding then gives the same network.
    limits = {
        name: [float(f"{np.asarray(one).item():.4g}") for one in data.range_value] for name, data in ranges.items()
    }
    return json.dumps(limits, sort_keys=True)


def _input(path: Path) -> str:
    import onnx  # noqa: PLC0415  (only quantisation needs it)

    return str(onnx.load(str(path), load_external_data=False).graph.input[0].name)


class _Batches:
    """Batches as ONNX Runtime asks for them."""

    def __init__(self, name: str, batches: Iterable[Array]) -> None:
        self._batches: Iterator[Array] = iter(batches)
        self._name = name

    def get_next(self) -> dict[str, Array] | None:
        """The next one."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: np.ascontiguousarray(batch)}


def quantised(path: Path, ranges: str) -> Path:
    """The network with weights and activations of 8 bits, for tensors in these ranges."""
    name = digest([path.name.encode(), ranges.encode(), version("onnxruntime").encode()]) + ".onnx"
    return kept("engines", name, partial(_quantise, path, ranges))


def _quantise(path: Path, ranges: str, out: Path) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static  # noqa: PLC0415
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data  # noqa: PLC0415
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    limits: dict[str, Any] = {name: tuple(map(np.float32, pair)) for name, pair in json.loads(ranges).items()}
    known, ready = out.parent / "ranges.json", out.parent / "ready.onnx"
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, limits), known)
    quant_pre_process(str(path), str(ready), skip_optimization=True, skip_symbolic_shape=True)
    quantize_static(
        str(ready),
        str(out),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=_stem(ready),
        calibration_cache_path=known,
    )


def _stem(path: Path) -> list[str]:
    """The first convolutions of a deep network: in 8 bits they cost most of what int8 misses, and save little."""
    import onnx  # noqa: PLC0415  (as above)

    convolutions = [node.name for node in onnx.load(str(path)).graph.node if node.op_type == "Conv"]
    return convolutions[: len(convolutions) // STEM]
