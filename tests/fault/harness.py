"""Runs of the command line to do harm to, and what must be left of them."""

import hashlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np

from hpcflow.execute.receipts import read
from hpcflow.execute.running import running

ROOT = Path(__file__).parents[2]
ADDON = Path(__file__).parent / "addon"
FULL = os.environ.get("HPCFLOW_FAULT") == "full"
SIDE, BLOCK = 64, 16
BLOCKS = (SIDE // BLOCK) ** 2
PATIENCE = 120.0
WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload(["pytest", "harness", "hpcflow.api", "hpcflow.cli.run", "hpcflow.clusters.local", "zarr"])
AT_ONCE = 3
"""Rounds that run side by side: most of the time each waits for something."""

FLOW = """
flow: fault
block: [{block}, {block}]
sources:
  x: {{from: npy, path: x.npy, dims: [y, x]}}
steps:
  smooth: {{op: gaussian, of: x, sigma: 1.0}}
  held: {{op: trouble, of: x, kind: {kind}, at: {at}, seconds: {seconds}}}
  both: {{op: expr, expr: "smooth + held"}}
  total: {{op: sum, of: both}}
sinks:
  tiled: {{to: zarr, of: both, path: out/tiled.zarr, chunks: [{block}, {block}], codec: {codec}}}
  plain: {{to: npy, of: both, path: out/plain.npy}}
  total: {{to: json, of: total, path: out/total.json}}
"""


def times(quick, full):
    """How often a test repeats itself in this profile."""
    share = float(os.environ.get("HPCFLOW_FAULT_SHARE", "1"))
    return max(quick, round(full * share)) if FULL else quick


def rounds(number, rng, act, *, at_once=AT_ONCE):
    """Call `act(i, rng_i)` so many times, a few at once, each with random numbers of its own; the results in order."""
    seeds = [rng.random() for _ in range(number)]
    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(act, i, random.Random(seed)) for i, seed in enumerate(seeds)]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()


class Case:
    """A flow in a folder of its own, run by the command line in processes of their own."""

    def __init__(self, folder, *, side=SIDE, block=BLOCK, kind="none", at=-1.0, seconds=0.03, codec="auto"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.mark = uuid.uuid4().hex
        self.started = []
        rng = np.random.default_rng(7)
        np.save(self.folder / "x.npy", rng.random((side, side)))
        self.blocks = (side // block) ** 2
        text = FLOW.format(kind=kind, at=at, seconds=seconds, block=block, codec=codec)
        (self.folder / "flow.yaml").write_text(text)

    def __getstate__(self):
        """Without the processes, for one that is to run the case itself."""
        return {**vars(self), "started": []}

    def plant(self, number, value):
        """Set the middle of one block to a number that sets the trouble off."""
        x = np.load(self.folder / "x.npy")
        row, column = divmod(number, SIDE // BLOCK)
        x[row * BLOCK + BLOCK // 2, column * BLOCK + BLOCK // 2] = value
        np.save(self.folder / "x.npy", x)

    def environment(self, **more):
        """Of every process of this case, which its mark tells from all others."""
        path = os.pathsep.join([str(ROOT), str(ADDON)])
        return {**os.environ, "PYTHONPATH": path, "FAULT_MARK": self.mark, **more}

    def command(self, *options, cluster="local"):
        """What starts a run."""
        start = [sys.executable, "-m", "hpcflow", "run", "flow.yaml", "--no-dashboard", "--cluster", cluster]
        return [*start, *map(str, options)]

    def start(self, *options, cluster="local", before=(), **more):
        """Start a run in a session of its own."""
        log = (self.folder / "log.txt").open("ab")
        with log:
            process = subprocess.Popen(
                [*before, *self.command(*options, cluster=cluster)],
                cwd=self.folder,
                env=self.environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def run(self, *options, cluster="local", **more):
        """Run to the end; the exit code."""
        return self.start(*options, cluster=cluster, **more).wait(PATIENCE)

    def run_warm(self, *options, cluster="local"):
        """As `run`, in a process that is forked from one which has imported everything: a second less each time."""
        process = WARM.Process(target=_command, args=(self, self.command(*options, cluster=cluster)[3:]))
        process.start()
        process.join(PATIENCE)
        assert process.exitcode is not None, self.log
        return process.exitcode

    @property
    def log(self):
        """All that was printed."""
        return (self.folder / "log.txt").read_text(errors="replace")

    @property
    def report(self):
        """Of the last run."""
        again = self.folder / "runs/fault/report-again.json"
        return json.loads((again if again.exists() else self.folder / "runs/fault/report.json").read_text())

    def receipts(self):
        """The numbers of the blocks that have a whole receipt."""
        folders = list((self.folder / "runs/fault/receipts").glob("*"))
        return {receipt.number for folder in folders for receipt in read(folder)}

    def wait_for(self, receipts, process):
        """Wait until some blocks are finished."""
        until = time.monotonic() + PATIENCE
        while len(self.receipts()) < receipts:
            assert process.poll() is None, self.log
            assert time.monotonic() < until
            time.sleep(0.01)

    def outputs(self, content=None):
        """The hash of every file that the run has left for others."""
        return tree(
            self.folder / "out",
            lambda path: not path.name.endswith((".manifest.json", ".unfinished.json")),
            content or _told,
        )

    def processes(self):
        """The processes of this case that are alive."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if self.mark.encode() in (folder / "environ").read_bytes() and state != "Z":
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def workers(self):
        """The processes that compute."""
        found = []
        for pid in self.processes():
            try:
                if "--multiprocessing-fork" in Path(f"/proc/{pid}/cmdline").read_text():
                    found.append(pid)
            except OSError:
                continue
        return found

    def at_blocks(self):
        """The processes that have begun a block and not ended it."""
        folders = (self.folder / "runs/fault/receipts").glob("*/*/")
        return {one.process for folder in folders for one in running(folder)}

    def gone(self, seconds):
        """Whether no process of this case is left, within some seconds."""
        until = time.monotonic() + seconds
        while self.processes():
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def kill(self):
        """End what is left."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in self.started:
            process.wait()


def _told(path):
    """A file's bytes; of an array's metadata without the flow's text, which says what trouble a case makes."""
    content = path.read_bytes()
    if path.name != "zarr.json":
        return content
    document = json.loads(content)
    document["attributes"].get("hpcflow", {}).pop("flow", None)
    return json.dumps(document).encode()


def _command(case, arguments):
    """Be the command line of a case, in a process of its own."""
    os.chdir(case.folder)
    os.environ.clear()
    os.environ.update(case.environment())
    sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)
    log = os.open("log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(log, stream)
    sys.stdout, sys.stderr = (open(stream, "w", buffering=1, closefd=False) for stream in (1, 2))  # noqa: SIM115
    sys.argv = ["hpcflow", *arguments]
    # The workers it starts would import what the tests were started with.
    sys.modules["__main__"] = ModuleType("__main__")
    from hpcflow.cli import main  # noqa: PLC0415  (once it is clear what the process is)

    main()


def tree(folder, wanted=lambda path: True, content=Path.read_bytes):
    """The hash of each file below a folder, by its name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(content(path)).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and wanted(path)
    }
