"""One of those who do a job, in a process of its own: warm-up, caches and threads are its own too.

Reads two lines of JSON for each round from stdin, one that begins it and one that ends it, and
answers each with one: what looks at the answer is no part of what is measured.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import IO

from benchmarks import answers
from benchmarks.declare import Case, Entry, Row


def main() -> None:
    """Serve rounds until stdin ends."""
    # Whatever libraries print goes to stderr, which the parent keeps in a file.
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    row, entry = _find(job["row"], job["entry"])
    with ExitStack() as stack:
        size, inputs = SimpleNamespace(**job["size"]), SimpleNamespace(**job["inputs"])
        case = Case(size, inputs, Path(job["folder"]), job["cores"], stack)
        case.clear()
        os.chdir(case.folder)
        _serve(row, entry, case, Path(job["reference"]), told)


def _find(row_name: str, entry_name: str) -> tuple[Row, Entry]:
    from benchmarks.rows import ROWS

    row = ROWS[row_name]
    return row, next(one for one in row.entries if one.name == entry_name)


def _serve(row: Row, entry: Entry, case: Case, reference: Path, told: IO[str]) -> None:
    once = entry.start(case)
    told.write(json.dumps({"ready": True}) + "\n")
    for _ in sys.stdin:
        case.clear()
        gc.collect()
        begun = time.perf_counter()
        answer = once()
        seconds = time.perf_counter() - begun
        told.write(json.dumps({"seconds": seconds * (entry.scale(case.size) if entry.scale else 1)}) + "\n")
        check = json.loads(sys.stdin.readline())["check"]
        reply = {}
        if check == "keep":
            answers.keep(answer, reference, row.differ)
        elif check == "compare":
            reply["difference"] = answers.difference(answer, reference, row.differ)
        del answer
        case.clear()
        told.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
