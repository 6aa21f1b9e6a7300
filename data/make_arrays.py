"""Make the arrays that the flows read: the same ones every time, whatever their size.

    python data/make_arrays.py                 # plane.npy (4096 by 4096) and stack.npy
    python data/make_arrays.py --size 32768    # a plane of 4 GiB, written slab by slab

The plane is picture-like: soft blobs of many sizes, a slow slope and grain, between 0 and 1.
The stack is what a microscope gives: twelve frames of the same spots, drifting, as uint16.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SLAB = 256
"""Rows that are made at once. Grain depends on it, so it is the same for every size."""
FRAMES = 12


def main() -> None:
    """Read the options and write the arrays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096, help="height and width of the plane (4096)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="the folder to write to (data/)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    size = options.size
    side = max(min(size // 8, 512), 1)
    write(options.out / "plane.npy", (size, size), "<f4", plane(size))
    write(options.out / "stack.npy", (FRAMES, side, side), "<u2", stack(side))


def write(path: Path, shape: tuple[int, ...], dtype: str, slabs: Iterator[np.ndarray]) -> None:
    """Write an array piece by piece, under another name until it is complete."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
        for slab in slabs:
            file.write(np.ascontiguousarray(slab, dtype))
    part.replace(path)
    print(f"{path}: {' by '.join(map(str, shape))} {np.dtype(dtype).name}")


def plane(size: int) -> Iterator[np.ndarray]:
    """Slabs of rows of the plane."""
    draw = np.random.default_rng(1)
    count = 48
    centres = draw.uniform(0, 1, (2, count))
    widths = draw.uniform(0.01, 0.12, count)
    heights = draw.uniform(0.2, 0.8, count)
    # A blob is the product of a curve along y and one along x: all of them are one matrix product.
    along_x = bells(np.arange(size), centres[1] * size, widths * size)
    slope = np.linspace(0, 0.3, size)
    for number, first in enumerate(range(0, size, SLAB)):
        rows = np.arange(first, min(first + SLAB, size))
        blobs = (bells(rows, centres[0] * size, widths * size) * heights) @ along_x.T
        grain = np.random.default_rng([2, number]).standard_normal((len(rows), size), np.float32)
        yield np.clip(np.tanh(blobs + slope) * 0.9 + 0.02 * grain + 0.05, 0, 1)


def stack(side: int) -> Iterator[np.ndarray]:
    """Frames of the stack."""
    draw = np.random.default_rng(3)
    count = 40
    centres, drift = draw.uniform(0, side, (2, count)), draw.normal(0, side / 200, (2, count))
    widths, heights = draw.uniform(side / 100, side / 25, count), draw.uniform(2_000, 20_000, count)
    for frame in range(FRAMES):
        y, x = centres + frame * drift
        spots = (bells(np.arange(side), y, widths) * heights) @ bells(np.arange(side), x, widths).T
        yield np.clip(np.random.default_rng([4, frame]).poisson(spots + 400), 0, 65_535)


def bells(positions: np.ndarray, centres: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Gaussian curves: one row per position, one column per centre."""
    return np.exp(-(((positions[:, None] - centres) / widths) ** 2) / 2)


if __name__ == "__main__":
    main()
