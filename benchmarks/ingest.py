"""What fetching reaches: against bare aiohttp, against a server that misbehaves, and in memory.

    python -m benchmarks.ingest            every figure, a few minutes
    python -m benchmarks.ingest --quick    the same on a tenth of the files
    python -m benchmarks.ingest speed      some of speed, label, faults, cuts, cap, many

Prints one JSON document: a row for each figure, with what was asked for. Runs are interleaved and
medians quoted, since other things run on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow.parquet as pq
from aiohttp import web

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "ingest")]

from faulty import Faulty, body_of  # noqa: E402
from faulty import serving as in_thread  # noqa: E402

from hpcflow.files import write  # noqa: E402
from hpcflow.ingest import fetch  # noqa: E402

HOSTS = [f"127.0.0.{i}" for i in range(1, 21)]
BUSY = HOSTS[-2:]
"""The servers that limit their clients: those send `Retry-After`."""
FAULTS = ["reset", "twice", "norange", "changed", "gzipped", "long", "short", "chunks", "unfinished"]
FAULTS += ["page", "gzip-lies", "missing", "stall", "drip"]
LOST = {"long", "short", "chunks", "unfinished", "page", "gzip-lies", "missing", "stall", "drip"}


def _serve(pipe: Any, delay: float, size: int, photos: str | None) -> None:
    """A server in a process of its own, on many addresses of loopback."""

    server = Faulty(delay, size)
    if photos:
        files = [path.read_bytes() for path in sorted(Path(photos).glob("*.jpg"))]
        server.bodies = {f"ok/{i}.jpg": files[i % len(files)] for i in range(400)}

    async def main() -> None:
        application = web.Application()
        application.router.add_get("/{path:.*}", server.answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, HOSTS[0], 0, backlog=2048).start()
        port = runner.addresses[0][1]
        for host in HOSTS[1:]:
            await web.TCPSite(runner, host, port, backlog=2048).start()
        pipe.send(port)
        while True:
            await asyncio.sleep(0.05)
            if pipe.poll():
                pipe.recv()
                early = sum(
                    any(t < server.closed[path] - 0.001 for t in server.times[path][1:]) for path in server.closed
                )
                pipe.send((early, len(server.closed), server.most_at_once))

    asyncio.run(main())


@contextmanager
def serving(delay: float, size: int, photos: str | None = None) -> Iterator[tuple[int, Any]]:
    """Its port, and a pipe that tells what was asked too early."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(there, delay, size, photos), daemon=True
    )
    process.start()
    try:
        yield here.recv(), here
    finally:
        process.terminate()
        process.join()


def timed(call: Callable[[], Any]) -> float:
    """Seconds."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


async def bare(urls: list[str], concurrency: int, folder: str | None = None) -> None:
    """What one writes by hand: aiohttp and a semaphore; the bodies dropped, or saved as safely as here."""
    turns = asyncio.Semaphore(concurrency)

    async def one(number: int, url: str) -> None:
        async with turns, session.get(url) as answer:
            body = await answer.read()
        if folder is not None:
            await asyncio.to_thread(_save, Path(folder, str(number)), body)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(one(i, url) for i, url in enumerate(urls)))


def _save(path: Path, body: bytes) -> None:
    hashlib.sha256(body).hexdigest()
    write(path, body)


def speed(scale: float) -> list[dict[str, Any]]:
    """500 files of 200 kB, 50 ms away, 128 at once."""
    import fsspec

    count = max(int(500 * scale), 60)
    with serving(0.05, 200_000) as (port, _), tempfile.TemporaryDirectory() as folder:
        urls = [f"http://127.0.0.1:{port}/ok/{i}.bin" for i in range(count)]
        seconds: dict[str, list[float]] = {}
        for turn in range(5):
            new = {name: f"{folder}/{name}{turn}" for name in ("saved", "out", "cache")}
            Path(new["saved"]).mkdir()
            given = {"cache": new["cache"], "concurrency": 128, "per_host": 128}
            calls = {
                "bare aiohttp": lambda: asyncio.run(bare(urls, 128)),
                "bare aiohttp, saved": lambda new=new: asyncio.run(bare(urls, 128, new["saved"])),
                "fsspec cat": lambda: fsspec.filesystem("http", skip_instance_cache=True).cat(urls),
                "hpcflow fetch": lambda new=new, given=given: fetch(urls, new["out"], **given),
            }
            for name, call in calls.items():
                seconds.setdefault(name, []).append(timed(call))
        some = urls[:40]
        alone = timed(lambda: asyncio.run(bare(some, 1))) * count / len(some)
    medians = {name: round(statistics.median(all_), 3) for name, all_ in seconds.items()}
    own = medians["hpcflow fetch"]
    rows = [
        ("of bare aiohttp that saves its files", medians["bare aiohttp, saved"] / own, ">= 0.9"),
        ("of bare aiohttp that drops them", medians["bare aiohttp"] / own, ""),
        ("times one by one", alone / own, ">= 20"),
        ("of fsspec's cat, which drops them", medians["fsspec cat"] / own, ">= 1"),
    ]
    return [
        {"figure": f"{count} files of 200 kB", "what": w, "value": round(v, 2), "wanted": t} for w, v, t in rows
    ] + [{"figure": "seconds", "value": {**medians, "one by one": round(alone, 1)}}]


def label(scale: float) -> list[dict[str, Any]]:
    """Labelling 400 photos from a server, beside labelling them from disk."""
    count = max(int(400 * scale), 40)
    photos = ROOT / "data" / "photos"
    with serving(0.05, 0, str(photos)) as (port, _), tempfile.TemporaryDirectory() as folder:
        files = sorted(photos.glob("*.jpg"))
        disk, served = Path(folder, "disk.txt"), Path(folder, "urls.txt")
        for i in range(count):
            Path(folder, f"{i}.jpg").write_bytes(files[i % len(files)].read_bytes())
        disk.write_text("\n".join(f"{folder}/{i}.jpg" for i in range(count)))
        served.write_text("\n".join(f"http://127.0.0.1:{port}/ok/{i}.jpg" for i in range(count)))
        seconds: dict[str, list[float]] = {"disk": [], "urls": []}
        for turn in range(2):
            for name, path in (("disk", disk), ("urls", served)):
                run = [sys.executable, "-m", "hpcflow", "run", ROOT / "flows" / "ingest.yaml", "-q", "--no-dashboard"]
                run += ["--cluster", "threads", "-p", f"list={path}", "-p", f"cache={folder}/cache{turn}"]
                run += [
                    "-p",
                    f"classes={ROOT}/data/imagenet1k_classes.txt",
                    "-p",
                    "per_host=32",
                    "--fresh",
                    "-C",
                    folder,
                ]
                subprocess.run(run, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
                report = json.loads(Path(folder, "runs/ingest/report.json").read_text())
                seconds[name].append(report["seconds"]["compute"])
    disk_s, urls_s = (statistics.median(one) for one in seconds.values())
    what = "seconds over those from disk"
    return [{"figure": f"label {count} photos", "what": what, "value": round(urls_s / disk_s, 2), "wanted": "<= 1.15"}]


def faults(scale: float) -> list[dict[str, Any]]:
    """10,000 URLs of 20 servers, a fifth of them faulty, beside the same with no fault."""
    count, chance = max(int(10_000 * scale), 500), random.Random(0)
    kinds = ["ok"] * count
    for i in chance.sample(range(count), count // 5):
        kinds[i] = chance.choice(FAULTS)
    with serving(0.02, 20_000) as (port, pipe), tempfile.TemporaryDirectory() as folder:
        clean, faulty = [], []
        for i, kind in enumerate(kinds):
            host = HOSTS[i % (len(HOSTS) - 2)]
            clean.append(f"http://{host}:{port}/ok/clean{i}.bin")
            faulty.append(f"http://{host}:{port}/{kind}/{i}.bin")
        for i, kind in enumerate(("busy-429s", "busy-429d", "busy-503s", "busy-503d")):
            faulty.append(f"http://{BUSY[i % 2]}:{port}/{kind}/{i}.bin")
        took = {}
        for name, urls in (("clean", clean), ("faulty", faulty)):
            Path(folder, f"{name}.txt").write_text("\n".join(urls))
            took[name] = _alone(folder, name, "--timeout", "2", "--retries", "2", "--max-bad", "1.0")
        wrong, missed, lost = [], [], 0
        for row in pq.read_table(f"{folder}/faulty/manifest.parquet").to_pylist():
            path = row["url"].partition(f":{port}/")[2]
            if path.partition("/")[0] in LOST:
                lost += row["status"] == "failed" and bool(row["reason"])
            elif not row["path"]:
                missed.append(f"{path}: {row['reason']}")
            elif Path(folder, "faulty", row["path"]).read_bytes() != body_of(path, 20_000):
                wrong.append(path)
        pipe.send("early")
        early, asked, _ = pipe.recv()
    expected = sum(kind in LOST for kind in kinds)
    name = f"{count} URLs, a fifth faulty"
    return [
        {"figure": name, "what": "files with a wrong byte", "value": len(wrong), "wanted": 0, "which": wrong[:20]},
        {"figure": name, "what": "missed that could be had", "value": len(missed), "wanted": 0, "which": missed[:20]},
        {"figure": name, "what": "losses without a reason", "value": expected - lost, "wanted": 0},
        {
            "figure": name,
            "what": "times a clean run",
            "value": round(took["faulty"][0] / took["clean"][0], 2),
            "wanted": "<= 2",
        },
        {
            "figure": name,
            "what": "seconds, clean and faulty",
            "value": [round(seconds, 1) for seconds, _ in took.values()],
        },
        {"figure": name, "what": "MiB", "value": took["faulty"][1], "wanted": "< 300"},
        {"figure": name, "what": f"of {asked} Retry-After broken", "value": early, "wanted": 0},
    ]


def cuts(scale: float) -> list[dict[str, Any]]:
    """Files of 4 MB, each cut at a random offset; one that is another afterwards."""
    count, chance, size = max(int(100 * scale), 10), random.Random(0), 4_000_000
    worst = wrong = 0
    with in_thread(Faulty(size=size)) as server, tempfile.TemporaryDirectory() as folder:
        paths = [f"ok/{i}.bin" for i in range(count)] + [f"changed/{i}.bin" for i in range(4)]
        server.cuts = {path: [chance.randrange(size)] for path in paths[:count]}
        done = fetch(map(server.url, paths), f"{folder}/out", cache=f"{folder}/cache", concurrency=4)
        for path, row in zip(paths, pq.read_table(done.manifest).to_pylist(), strict=True):
            wrong += not row["path"] or Path(folder, "out", row["path"]).read_bytes() != server.body(path)
            worst = max(worst, server.sent[path] - size)
    name = f"cut at {count} random offsets"
    return [
        {"figure": name, "what": "most bytes fetched twice", "value": worst, "wanted": f"<= {2**20}"},
        {"figure": name, "what": "files that are not right", "value": wrong, "wanted": 0},
    ]


def cap(scale: float) -> list[dict[str, Any]]:
    """Three processes at one server, eight requests at once in all."""
    count = max(int(400 * scale), 40)
    with serving(0.02, 20_000) as (port, pipe), tempfile.TemporaryDirectory() as folder:
        fetches = []
        for i in range(3):
            Path(folder, f"{i}.txt").write_text("\n".join(f"http://127.0.0.1:{port}/ok/{i}-{j}" for j in range(count)))
            command = [sys.executable, "-m", "hpcflow", "fetch", f"{folder}/{i}.txt", "--to", f"{folder}/{i}", "-q"]
            command += ["--cache", f"{folder}/cache", "--per-host", "8"]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            fetches.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
        assert [one.wait() for one in fetches] == [0, 0, 0]
        pipe.send("most")
        _, _, most = pipe.recv()
    return [{"figure": "three processes, 8 at once allowed", "what": "most at once", "value": most, "wanted": "<= 8"}]


def many(scale: float) -> list[dict[str, Any]]:
    """100,000 URLs, in memory."""
    count = int(100_000 * scale)
    with serving(0.0, 100) as (port, _), tempfile.TemporaryDirectory() as folder:
        urls = (f"http://{HOSTS[i % 20]}:{port}/ok/{i}.bin" for i in range(count))
        Path(folder, "many.txt").write_text("\n".join(urls))
        seconds, mib = _alone(folder, "many")
        again, more = _alone(folder, "many")
    name = f"{count} URLs"
    return [
        {"figure": name, "what": "MiB", "value": max(mib, more), "wanted": "< 300"},
        {"figure": name, "what": "seconds, and with all there", "value": [round(seconds, 1), round(again, 1)]},
    ]


def _alone(folder: str, name: str, *options: str) -> tuple[float, int]:
    """Run the command in a process of its own: seconds, and MiB at its peak."""
    command = [sys.executable, "-m", "hpcflow", "fetch", f"{folder}/{name}.txt", "--to", f"{folder}/{name}", "-q"]
    begun = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command, "--cache", f"{folder}/cache-{name}", *options], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 3)
    process.returncode = 0
    return time.perf_counter() - begun, usage.ru_maxrss // 1024


def main() -> None:
    """Measure and print."""
    figures = {"speed": speed, "label": label, "faults": faults, "cuts": cuts, "cap": cap, "many": many}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", choices=[*figures, []], default=list(figures))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    rows = []
    for name in given.figures or figures:
        rows += figures[name](0.1 if given.quick else 1.0)
        print(json.dumps(rows[-1]), file=sys.stderr)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
