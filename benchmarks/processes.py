"""Processes that do rounds, and the memory they take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from hpcflow.leaving import started

ROOT = Path(__file__).parents[1]
LIMIT = 420.0
"""Seconds after which a round is taken to hang."""
# Some machines set these for old OpenBLAS builds, which fail on their processors. They would
# make a current NumPy slow, for all entries alike.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


class Failed(Exception):
    """An entry did not do its job."""


@dataclass(frozen=True)
class Round:
    """What was measured of one round."""

    seconds: float
    cpu: float
    """Seconds that cores were at work for it, its children's included."""
    memory: int
    """The most bytes that the process and its children had to themselves."""
    difference: float
    """Of the answer from the reference; 0 where it was not compared."""


class Child:
    """An entry's process."""

    def __init__(self, job: dict[str, Any], env: Mapping[str, str], stack: ExitStack) -> None:
        folder = Path(job["folder"])
        folder.mkdir(parents=True)
        self.log = folder / "stderr.txt"
        inherited = {name: value for name, value in os.environ.items() if name not in UNSET}
        # The working directory becomes the entry's own folder: modules are found from here.
        inherited["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        stderr = stack.enter_context(self.log.open("wb"))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, bufsize=1,
            env={**inherited, **env}, cwd=ROOT,
        )  # fmt: skip
        stack.callback(self.close)
        self._ask(job)

    def round(self, check: str | None = None) -> Round:
        """Do the job once; `check` says to `keep` the answer or to `compare` it with the one kept."""
        before = _cpu(self.process.pid)
        with _watch(self.process.pid) as peak:
            seconds = self._ask({})["seconds"]
        cpu = _cpu(self.process.pid) - before
        difference = self._ask({"check": check}).get("difference", 0.0)
        return Round(seconds, cpu, peak[0], difference)

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        hung = threading.Timer(LIMIT, self.process.kill)
        hung.start()
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            hung.cancel()
        if not line:
            self.process.wait()
            last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise Failed("failed: " + (last[0][:300] if last else f"exit code {self.process.returncode}"))
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        """End it by closing its stdin; then whatever it left behind."""
        family = _family(self.process.pid)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.close()
            self.process.wait(30)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        for one in family:
            try:
                one.kill()
            except psutil.Error:
                continue


def _family(pid: int) -> list[psutil.Process]:
    """A process and its children, those of children included."""
    family = []
    # Not psutil's `children`, which look at every process there is: at each sample, that kept half a core busy.
    for number in (pid, *started(pid)):
        with suppress(psutil.Error):  # it has ended
            family.append(psutil.Process(number))
    return family


def _cpu(pid: int) -> float:
    """Seconds that a process and its children have computed; those that ended count with their parents."""
    total = 0.0
    for one in _family(pid):
        try:
            total += sum(one.cpu_times()[:4])
        except psutil.Error:
            continue
    return total


@contextmanager
def _watch(pid: int) -> Iterator[list[int]]:
    """The most memory that a process and its children have to themselves meanwhile."""
    peak, stop = [0], threading.Event()

    def sample() -> None:
        while not stop.wait(0.05):
            total = 0
            for one in _family(pid):
                try:
                    memory = one.memory_info()
                except psutil.Error:
                    continue
                total += memory.rss - memory.shared  # a mapped file's pages are the system's
            peak[0] = max(peak[0], total)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
