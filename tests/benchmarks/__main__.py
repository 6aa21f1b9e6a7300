"""The command: python -m tests.benchmarks [NAME…] [--quick] [--json FILE] [--docs]."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from tests.benchmarks import data, report
from tests.benchmarks.measure import measure
from tests.benchmarks.rows import ROWS


def main() -> int:
    """Run rows, print each, and say whether all went well."""
    options = _parse()
    # Ended by a signal, it still ends the processes it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    data.FOLDER.mkdir(exist_ok=True)
    results = []
    for name in options.names or ROWS:
        print(f"{name} …", file=sys.stderr, flush=True)
        result = measure(ROWS[name], options.size, options.rounds, data.FOLDER, _say)
        results.append(result)
        print(report.text(result), flush=True)
    if options.json:
        options.json.write_text(json.dumps(report.document(results), indent=1) + "\n", encoding="utf-8")
    if options.docs:
        report.write_docs(results, options.docs)
    return 1 if any(result.failed for result in results) else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"rows: {', '.join(ROWS)}; all by default")
    parser.add_argument("--quick", dest="size", action="store_const", const="quick", default="full", help="small data")
    parser.add_argument("--rounds", type=int, default=5, help="after the warm-up (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="write benchmarks.md and its plots there")
    options = parser.parse_args()
    for name in options.names:
        if name not in ROWS:
            parser.error(f"expected one of {', '.join(ROWS)}, found {name}")
    return options


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
