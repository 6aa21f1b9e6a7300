"""What each op does to a photo, drawn by the op itself."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageDraw, ImageFont

import hpcflow
from hpcflow.errors import HpcflowError, Mismatch
from hpcflow.sampling import pixels
from hpcflow.spec.catalog import Entry
from hpcflow.viewing.draw import fitted, resized

DATA = Path(__file__).resolve().parents[2] / "data"
SIDE, GAP, LINE = 256, 16, 22
LONG = 20
"""How much wider than high an array is that is drawn as a curve of its first row."""

SOURCES = """\
  photo: {from: npy, path: photo.npy, dims: [y, x]}
  other: {from: npy, path: other.npy, dims: [y, x]}
  small: {from: npy, path: small.npy, dims: [y, x]}
  photos: {from: images, path: photos, size: 224}
"""
EDGE = "[[0, 1, 0], [1, -4, 1], [0, 1, 0]]"
BLUR = "[[1, 1, 1], [1, 1, 1], [1, 1, 1]]"
STEPS = {
    "argmax": "{op: argmax, of: photo, axis: x}",
    "astype": "{op: astype, of: photo, dtype: bool}",
    "clip": "{op: clip, of: photo, min: 80, max: 160}",
    "concatenate": "{op: concatenate, of: [photo, other], axis: x}",
    "convolve": f"{{op: convolve, of: photo, weights: {EDGE}}}",
    "correlate": f"{{op: correlate, of: photo, weights: {BLUR}}}",
    "expr": '{op: expr, expr: "sqrt(abs(photo - other))"}',
    "fft": "{op: fft, of: photo, axes: [y, x]}",
    "gaussian": "{op: gaussian, of: photo, sigma: 4}",
    "histogram": "{op: histogram, of: photo, bins: 64, range: [0, 256]}",
    "ifft": "{op: ifft, of: photo, axes: [y, x]}",
    "infer": "{op: infer, of: photos, model: efficientnet_lite0}",
    "infer_tiled": (
        f'{{op: infer_tiled, of: photo, model: "{DATA}/denoiser.pt2", axes: [y, x], depth: 5, mode: reflect}}'
    ),
    "isel": '{op: isel, of: photo, indexers: {y: "64:192", x: "::-2"}}',
    "laplace": "{op: laplace, of: photo}",
    "matmul": "{op: matmul, of: [photo, other]}",
    "max": "{op: max, of: photo, axis: y}",
    "maximum": "{op: maximum, of: photo, size: 9}",
    "mean": "{op: mean, of: photo, axis: y}",
    "median": "{op: median, of: photo, size: 7}",
    "min": "{op: min, of: photo, axis: y}",
    "minimum": "{op: minimum, of: photo, size: 9}",
    "normalize": "{op: normalize, of: photo, mean: 128, std: 64}",
    "sobel": "{op: sobel, of: photo, axis: x}",
    "softmax": "{op: softmax, of: small, axis: x}",
    "stack": "{op: stack, of: [photo, other], axis: 0}",
    "std": "{op: std, of: photo, axis: y}",
    "sum": "{op: sum, of: photo, axis: y}",
    "threshold": "{op: threshold, of: photo, value: 128}",
    "top_k": "{op: top_k, of: small, axis: x, k: 3}",
    "broadcast": "{op: broadcast, of: photo, shape: [2, 256, 256]}",
    "expand_dims": "{op: expand_dims, of: photo}",
    "flip": "{op: flip, of: photo, axis: x}",
    "pad": "{op: pad, of: photo, pad_width: 64, mode: reflect}",
    "repeat": "{op: repeat, of: small, repeats: 4, axis: y}",
    "roll": "{op: roll, of: photo, shift: 100, axis: x}",
    "rot90": "{op: rot90, of: photo}",
    "squeeze": "{op: squeeze, of: photo}",
    "tile": "{op: tile, of: small, reps: {y: 2, x: 3}}",
    "diff": "{op: diff, of: photo, axis: x}",
    "gaussian_laplace": "{op: gaussian_laplace, of: photo, sigma: 3}",
    "gradient": "{op: gradient, of: photo, axis: x}",
    "gradient_magnitude": "{op: gradient_magnitude, of: photo, sigma: 2}",
    "prewitt": "{op: prewitt, of: photo, axis: x}",
    "transpose": "{op: transpose, of: photo, axes: [x, y]}",
    "uniform": "{op: uniform, of: photo, size: 15}",
    "where": "{op: where, of: [bright, photo, other]}",
    "all": "{op: all, of: bright, axis: y}",
    "any": "{op: any, of: bright, axis: y}",
    "argmin": "{op: argmin, of: photo, axis: x}",
    "count": "{op: count, of: photo, axis: y}",
    "count_nonzero": "{op: count_nonzero, of: bright, axis: y}",
    "first": "{op: first, of: photo, axis: y}",
    "last": "{op: last, of: photo, axis: y}",
    "prod": "{op: prod, of: small, axis: y, dtype: float64}",
    "ptp": "{op: ptp, of: photo, axis: y}",
    "var": "{op: var, of: photo, axis: y}",
    "black_tophat": "{op: black_tophat, of: photo, footprint: {disk: 4}}",
    "closing": "{op: closing, of: photo, footprint: {disk: 4}}",
    "dilation": "{op: dilation, of: photo, footprint: {disk: 4}}",
    "erosion": "{op: erosion, of: photo, footprint: {disk: 4}}",
    "morphological_gradient": "{op: morphological_gradient, of: photo, footprint: {disk: 4}}",
    "opening": "{op: opening, of: photo, footprint: {disk: 4}}",
    "white_tophat": "{op: white_tophat, of: photo, footprint: {disk: 4}}",
}
"""How each op is used for its picture; an add-on's as its own example says."""


def draw(op: Entry, path: Path) -> str:
    """Draw an op's input and result side by side; the step as a flow has it, or nothing where none can be drawn."""
    if op.name in STEPS:
        return drawn(STEPS[op.name], path)
    try:
        return drawn(borrowed(op), path)
    except HpcflowError as error:
        sys.stderr.write(f"no picture of `{op.name}`, whose example is no step over two axes, y and x: {error}\n")
        return ""


def borrowed(op: Entry) -> str:
    """The step of an op's own example, over the photos in place of what that reads."""
    nodes = [node for node in (yaml.safe_load(op.example) or {}).values() if node.get("op") == op.name]
    if not nodes:
        raise Mismatch("expected an example in the docstring, found none")
    names = list(yaml.safe_load(SOURCES))
    of = nodes[0]["of"]
    taken = [one if one in names else name for one, name in zip([of] if isinstance(of, str) else of, cycle(names))]
    step = nodes[0] | {"of": taken[0] if isinstance(of, str) else taken}
    return yaml.safe_dump(step, default_flow_style=True, sort_keys=False, width=10_000).strip()


def drawn(step: str, path: Path) -> str:
    """Draw what a step reads and what it makes side by side; the step as a flow has it."""
    text = f"flow: picture\nsources:\n{SOURCES}steps:\n"
    text += '  bright: {op: expr, expr: "photo > 128"}\n' + f"  after: {step}\n"
    text += "sinks:\n  after: {to: npy, of: after, path: after.npy}\n"
    with prepared():
        Path("picture.yaml").write_text(text, encoding="utf-8")
        flow = hpcflow.load("picture.yaml")
        built = hpcflow.build(flow)
        names = ["photo" if one == "bright" else one for one in flow.nodes["after"].of]
        before = np.asarray(built[names[0]].compute(scheduler="synchronous"))
        after = np.asarray(built["after"].compute(scheduler="synchronous"))
    tiles = [("before", tile(before)), ("after", tile(after))]
    paper = Image.new("RGB", (GAP + (SIDE + GAP) * len(tiles), SIDE + LINE + 2 * GAP), "white")
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(15)
    for number, (caption, picture) in enumerate(tiles):
        left = GAP + number * (SIDE + GAP)
        paper.paste(picture, (left + (SIDE - picture.width) // 2, GAP + (SIDE - picture.height) // 2))
        pen.text((left, GAP + SIDE + 6), caption, "black", font)
    paper.save(path)
    return f"after: {step}".replace(f"{DATA}/", "data/")


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """A folder with the photos, and with parts of two of them as planes."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("photos").symlink_to(DATA / "photos")
        for name, photo in (("photo", "china.jpg"), ("other", "flower.jpg")):
            with Image.open(DATA / "photos" / photo) as image:
                grey = image.convert("L").resize((2 * SIDE, 2 * SIDE)).crop((64, 128, 64 + SIDE, 128 + SIDE))
            np.save(f"{name}.npy", np.asarray(grey, np.float32))
        np.save("small.npy", np.random.default_rng(0).normal(size=(6, 12)).astype("float32"))
        yield


def tile(array: np.ndarray) -> Image.Image:
    """An array as a picture: an image, a line, a number, or rows of text."""
    if array.dtype.names:
        rows = array.reshape(-1, array.shape[-1])[:6]
        key, value = array.dtype.names[:2]
        return words("\n".join("  ".join(f"{one[key]}: {one[value]:.2f}" for one in row) for row in rows))
    if array.ndim == 0:
        return words(f"{array[()]:.6g}")
    if array.ndim == 2 and array.shape[1] > LONG * array.shape[0]:
        array = array[0]
    if array.ndim == 1:
        return line(array.astype(np.float64))
    if array.ndim == 4:
        array = array[0]
    if array.ndim == 3 and array.shape[-1] not in (3, 4):
        array = np.concatenate(list(array), axis=1)
    if array.dtype.kind == "c":
        array = np.log1p(np.abs(np.fft.fftshift(array)))
    image = pixels(array)
    return Image.fromarray(resized(image, *fitted(image.shape, SIDE, SIDE)))


def words(text: str) -> Image.Image:
    """Text on white."""
    paper = Image.new("RGB", (SIDE, SIDE), "white")
    ImageDraw.Draw(paper).text((8, 8), text, "black", ImageFont.load_default(16))
    return paper


def line(values: np.ndarray) -> Image.Image:
    """A curve."""
    paper = Image.new("RGB", (SIDE, SIDE), "white")
    low, high = values.min(), values.max()
    xs = np.linspace(0, SIDE - 1, len(values))
    ys = (SIDE - 9) - (values - low) / ((high - low) or 1) * (SIDE - 18)
    ImageDraw.Draw(paper).line(list(zip(xs.tolist(), ys.tolist(), strict=True)), "#00695c", 2)
    return paper
