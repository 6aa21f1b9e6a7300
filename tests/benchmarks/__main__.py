"""The command: python -m tests.benchmarks [NAME…] [--quick] [--json FILE] [--docs]."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from importlib.metadata import distributions
from pathlib import Path

import psutil

from tests.benchmarks import data, report
from tests.benchmarks.measure import measure
from tests.benchmarks.rows import ROWS

ROUNDS = {"full": 5, "quick": 3}


def main() -> int:
    """Run rows, print each, and say whether all went well."""
    options = _parse()
    # Ended by a signal, it still ends the processes it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    data.FOLDER.mkdir(exist_ok=True)
    results = []
    for name in options.names or ROWS:
        print(f"{name} …", file=sys.stderr, flush=True)
        rounds = options.rounds or ROUNDS[options.size]
        result = measure(ROWS[name], options.size, rounds, data.FOLDER, _say)
        results.append(result)
        print(report.text(result), flush=True)
    if options.json:
        options.json.write_text(json.dumps(report.document(results, machine()), indent=1) + "\n", encoding="utf-8")
    if options.docs:
        report.write_docs(results, machine(), options.docs)
    return 1 if any(result.failed for result in results) else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"rows: {', '.join(ROWS)}; all by default")
    parser.add_argument("--quick", dest="size", action="store_const", const="quick", default="full", help="small data")
    parser.add_argument("--rounds", type=int, help="after the warm-up; 5 by default, 3 with --quick")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="write benchmarks.md and its plots there")
    options = parser.parse_args()
    for name in options.names:
        if name not in ROWS:
            parser.error(f"expected one of {', '.join(ROWS)}, found {name}")
    return options


PACKAGES = ("numpy", "scipy", "dask", "zarr", "dask-image", "cubed", "ray", "torch", "onnxruntime")


def machine() -> dict[str, str]:
    """What the figures hold for."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    facts = {
        "processor": model[0].partition(": ")[2] if model else platform.processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "Python": platform.python_version(),
    }
    installed = {one.metadata["Name"]: one.version for one in distributions()}
    return facts | {name: installed[name] for name in PACKAGES if name in installed}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
