"""Train the small network of flows/denoise.yaml on the photos, and export it.

    python data/train_denoiser.py                     # data/denoiser.pt2, in half a minute

Five convolutions of size 3, so it sees 5 pixels around each. It gets patches of photos, of any
contrast, with normal noise of standard deviation 0.1, and learns to give the noise, which it
then takes away. What is to be denoised must be brought to that noise, whatever its values are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

FOLDER = Path(__file__).parent
SIGMA = 0.1
PATCH = 40
BATCH = 8


class Denoiser(nn.Module):
    """Noisy planes (N, 1, H, W) to clean ones."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        inner = [nn.Conv2d(width, width, 3, padding=1) for _ in range(3)]
        layers = [nn.Conv2d(1, width, 3, padding=1), *inner]
        self.layers = nn.Sequential(
            *(part for layer in layers for part in (layer, nn.ReLU())), nn.Conv2d(width, 1, 3, padding=1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Take away what it holds for noise."""
        return x - self.layers(x)


def main() -> None:
    """Read the options, train and export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600, help="how long to train (600)")
    parser.add_argument("--out", type=Path, default=FOLDER / "denoiser.pt2", help="the file to write")
    options = parser.parse_args()
    network = train(photos(), options.steps)
    export(network, options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


def photos() -> list[np.ndarray]:
    """The grey photos at half their size, between 0 and 1: what grain they have is averaged away."""
    found = []
    for path in sorted((FOLDER / "photos").glob("*.jpg")):
        with Image.open(path) as photo:
            found.append(np.asarray(photo.convert("L").reduce(2), np.float32) / 255)
    return found


def train(pictures: list[np.ndarray], steps: int) -> Denoiser:
    """The same network every time."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    draw = np.random.default_rng(0)
    network = Denoiser()
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in range(steps):
        clean = torch.from_numpy(np.stack([patch(pictures, draw) for _ in range(BATCH)]))[:, None]
        noisy = clean + SIGMA * torch.randn(clean.shape)
        loss = nn.functional.mse_loss(network(noisy), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}: {10 * np.log10(SIGMA**2 / loss.item()):.1f} dB gained")
    return network.eval()


def patch(pictures: list[np.ndarray], draw: np.random.Generator) -> np.ndarray:
    """A piece of a photo, turned, with some contrast and brightness."""
    picture = pictures[draw.integers(len(pictures))]
    y, x = (draw.integers(n - PATCH + 1) for n in picture.shape)
    piece = np.rot90(picture[y : y + PATCH, x : x + PATCH], draw.integers(4))
    contrast = np.exp(draw.uniform(np.log(0.3), np.log(8)))
    return (contrast * (piece - draw.uniform())).astype(np.float32)


def export(network: Denoiser, path: Path) -> None:
    """Write an archive for any number of planes of any size."""
    sizes = {0: torch.export.Dim("n"), 2: torch.export.Dim("y", min=2), 3: torch.export.Dim("x", min=2)}
    program = torch.export.export(network, (torch.zeros(2, 1, PATCH, PATCH),), dynamic_shapes=(sizes,))
    torch.export.save(program, path)


if __name__ == "__main__":
    main()
