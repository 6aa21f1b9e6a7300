"""The command: python -m benchmarks [NAME…] [--quick] [--json FILE] [--docs DIR]."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil

from benchmarks import data, report
from benchmarks.measure import measure
from benchmarks.rows import ROWS

ROUNDS = {"full": 5, "quick": 3}
MINUTES = {"full": 25.0, "quick": 4.0}
"""For all rows; slow entries get fewer rounds for it. `ingest.py` takes two or three more."""
INGEST = "ingest"
"""Fetching has a server of its own to do with, and another program: `ingest.py`."""


def main() -> int:
    """Run rows, print each, and say whether all went well."""
    options = _parse()
    # Ended by a signal, it still ends the processes it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # The bytecode of what pip installs is there; that of a checkout should be too.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    data.FOLDER.mkdir(exist_ok=True)
    for folder in (data.FOLDER, Path("/dev/shm")):
        data.clear_left(folder)
    names = options.names or [*ROWS, INGEST]
    done = report.Measured(machine())
    begun = time.monotonic()
    for index, name in enumerate(names):
        print(f"{name} …", file=sys.stderr, flush=True)
        if name == INGEST:
            done.ingest = _ingest(options.size)
            print(report.ingest_text(done.ingest), flush=True)
        else:
            left = 60 * MINUTES[options.size] - (time.monotonic() - begun)
            shares = [ROWS[one].share for one in names[index:] if one in ROWS]
            bounds = {"rounds": options.rounds or ROUNDS[options.size], "seconds": left * shares[0] / sum(shares)}
            done.rows.append(measure(ROWS[name], options.size, data.FOLDER, _say, **bounds))
            print(report.text(done.rows[-1]), flush=True)
        # Row by row: a run that is interrupted has not been for nothing.
        if options.json:
            options.json.write_text(json.dumps(done.to_json(), indent=1) + "\n", encoding="utf-8")
        if options.docs:
            report.write_docs(done, options.docs)
    failed = any(result.failed for result in done.rows) or (INGEST in names and not done.ingest)
    return 1 if failed else 0


def _ingest(size: str) -> list[dict[str, Any]]:
    """What fetching reaches beside aiohttp and fsspec, and labelling from a server beside labelling from disk."""
    words = [sys.executable, str(Path(__file__).with_name("ingest.py")), "speed", "label"]
    words += ["--quick"] if size == "quick" else []
    done = subprocess.run(words, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        print(f"error: ingest.py ended with exit code {done.returncode}", file=sys.stderr)
        return []
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return [{**one, "size": size} for one in found]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"rows: {', '.join([*ROWS, INGEST])}; all by default")
    parser.add_argument("--quick", dest="size", action="store_const", const="quick", default="full", help="small data")
    parser.add_argument("--rounds", type=int, help="at most, after the warm-up; 5 by default, 3 with --quick")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="write benchmarks.md and its plots there")
    options = parser.parse_args()
    for name in options.names:
        if name not in ROWS and name != INGEST:
            parser.error(f"expected one of {', '.join([*ROWS, INGEST])}, found {name}")
    return options


PACKAGES = ("hpcflow", "numpy", "scipy", "numba", "opencv-python-headless", "zarr", "torch", "onnxruntime", "aiohttp")
PEERS = ("dask", "dask-image", "cubed", "tensorstore", "numexpr", "ray", "fsspec")


def machine() -> dict[str, str]:
    """What the figures hold for."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    facts = {
        "processor": model[0].partition(": ")[2] if model else platform.processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": platform.release(),
        "Python": platform.python_version(),
    }
    installed = {one.metadata["Name"]: one.version for one in distributions()}
    return facts | {name: installed[name] for name in (*PACKAGES, *PEERS) if name in installed}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
