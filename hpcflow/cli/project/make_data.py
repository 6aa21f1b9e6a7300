"""Make data/plane.npy: bright spots on a noisy plane. Put your own array in its place."""

from pathlib import Path

import numpy as np

SIDE, SPOTS, WIDTH = 1024, 60, 12.0

rng = np.random.default_rng(7)
y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
plane = rng.normal(0.0, 0.3, (SIDE, SIDE)).astype(np.float32)
for row, column in rng.uniform(0, SIDE, (SPOTS, 2)):
    plane += np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * WIDTH**2))

Path("data").mkdir(exist_ok=True)
np.save("data/plane.npy", plane)
