"""Disks that fill up, files that shrink, bits that flip."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from harness import FULL, ROOT, times, tree

import hpcflow
from hpcflow.digests import digest_json
from hpcflow.errors import Mismatch, RunError
from hpcflow.execute import space
from hpcflow.registry import function

pytestmark = pytest.mark.timeout(3600 if FULL else 300)

FLOW = """
flow: rot
block: [16, 16]
sources:
  x: {from: npy, path: x.npy, dims: [y, x]}
steps:
  smooth: {op: gaussian, of: x, sigma: 1.0}
  total: {op: sum, of: smooth}
sinks:
  tiled: {to: zarr, of: smooth, path: out/tiled.zarr, chunks: [8, 8]}
  sharded: {to: zarr, of: smooth, path: out/sharded.zarr, chunks: [4, 4], shards: [16, 16]}
  plain: {to: npy, of: smooth, path: out/plain.npy}
  total: {to: json, of: total, path: out/total.json}
"""


@pytest.fixture
def flow(tmp_path, monkeypatch):
    """A flow of sixteen blocks in the folder where it is run."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(1).random((64, 64)))
    Path("flow.yaml").write_text(FLOW)
    return "flow.yaml"


def run(flow, **options):
    return hpcflow.run(flow, cluster="synchronous", **options)


OUTPUTS = ["tiled.zarr", "sharded.zarr", "plain.npy", "total.json"]


def test_flipped_and_missing_bytes_are_found_and_repaired(flow, rng, figures):
    run(flow)
    expected = tree(Path("out"), lambda path: "manifest" not in path.name)
    for name in OUTPUTS:
        assert hpcflow.verify(f"out/{name}").sound
    rounds, blocks = times(24, 1000), 0
    for i in range(rounds):
        output = rng.choice(OUTPUTS)
        files = [Path("out", output), Path(f"out/.{output}.manifest.json")]
        if output.endswith(".zarr"):
            chosen = sorted(path for path in Path("out", output).rglob("*") if path.is_file())
            files = [*rng.sample(chosen, 3), Path("out", output, "zarr.json"), files[1]]
        if output != "total.json":
            files += sorted(Path("runs/rot/receipts").glob("*/*.jsonl"))
        path = rng.choice(files)
        content = bytearray(path.read_bytes())
        how = rng.choice(["flip", "flip", "truncate", "remove"])
        if how == "flip":
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(content)
        elif how == "truncate":
            path.write_bytes(content[: rng.randrange(len(content))])
        else:
            path.unlink()
        found = hpcflow.verify(f"out/{output}")
        about = f"round {i}: {how} of {path}"
        assert not found.sound, about
        assert any(str(path) in str(one) or path.is_relative_to(Path(one.file)) for one in _relative(found)), about
        mended = hpcflow.verify(f"out/{output}", repair=True)
        assert mended.sound, f"{about}: {mended}"
        assert tree(Path("out"), lambda path: "manifest" not in path.name) == expected, about
        blocks += len(found.damage)
    figures(rounds=rounds, found=rounds, repaired=rounds, places=blocks)


def _relative(found):
    for one in found.damage:
        yield type(one)(str(Path(one.file).relative_to(Path.cwd())), one.what.replace(f"{Path.cwd()}/", ""))


def test_a_repair_computes_only_what_is_damaged(flow):
    run(flow)
    content = bytearray(Path("out/plain.npy").read_bytes())
    content[-1] ^= 1
    Path("out/plain.npy").write_bytes(content)
    (one,) = hpcflow.verify("out/plain.npy").damage
    assert one.what == "block [3, 3] [48:64, 48:64]"
    assert [str(one) for one in hpcflow.verify("out/plain.npy", repair=True).repaired] == [str(one)]
    report = run(flow)
    assert report.tasks["executed"] == 0


def test_a_missing_chunk_is_named(flow):
    run(flow)
    Path("out/tiled.zarr/c/2/3").unlink()
    (one,) = hpcflow.verify("out/tiled.zarr").damage
    assert one.what.startswith("block [1, 1] [16:32, 16:32]: `")
    assert one.what.endswith("c/2/3` is missing")


def test_an_output_without_a_manifest_is_not_complete(flow):
    Path("out").mkdir()
    np.save("out/plain.npy", np.zeros(3))
    with pytest.raises(Mismatch, match="found no manifest"):
        hpcflow.verify("out/plain.npy")


def test_a_run_that_changes_an_output_takes_its_manifest_away_first(flow, monkeypatch):
    run(flow)
    x = np.load("x.npy")
    np.save("x.npy", x + 1)
    monkeypatch.setattr("hpcflow.execute.run.publish", lambda *_: None)
    run(flow)
    assert list(Path("out").glob(".*.manifest.json")) == []


PARAMETERS = """
flow: several
block: [16, 16]
params: {sigma: 1.0, name: a}
sources: {x: {from: npy, path: x.npy}}
steps: {smooth: {op: gaussian, of: x, sigma: "${sigma}"}}
sinks: {smooth: {to: npy, of: smooth, path: "${name}.npy"}}
"""


def test_outputs_of_other_parameters_stay_sound_and_are_repaired_with_their_own(flow):
    Path(flow).write_text(PARAMETERS)
    run(flow)
    before = Path("a.npy").read_bytes()
    for name, sigma in (("b", 1.0), ("c", 2.0)):  # the same stage for another file, and another stage
        run(flow, params={"name": name, "sigma": sigma}, fresh=name == "c")
        assert hpcflow.verify("a.npy").sound
    Path("a.npy").write_bytes(before[:-1] + b"\0")
    assert len(hpcflow.verify("a.npy", repair=True).repaired) == 1
    assert Path("a.npy").read_bytes() == before
    assert hpcflow.verify("c.npy").sound
    Path("b.npy").unlink()
    run(flow, params={"sigma": 3.0})
    assert len(list(Path("runs/several/receipts").iterdir())) == 2  # of a, made anew, and of c


def test_an_output_that_was_moved_can_be_verified_but_not_made_again(flow):
    run(flow)
    Path("kept").mkdir()
    for name in ("plain.npy", ".plain.npy.manifest.json"):
        Path("out", name).rename(Path("kept", name))
    assert hpcflow.verify("kept/../kept/plain.npy").sound
    content = Path("kept/plain.npy").read_bytes()
    Path("kept/plain.npy").write_bytes(content[:-1] + b"\0")
    with pytest.raises(RunError, match="found that it was moved from"):
        hpcflow.verify("kept/plain.npy", repair=True)
    assert not Path("out/plain.npy").exists()
    assert len(hpcflow.verify("kept/plain.npy").damage) == 1


def test_a_manifest_of_another_release_is_said_to_be_one(flow):
    run(flow)
    manifest = Path("out/.plain.npy.manifest.json")
    body = json.loads(manifest.read_bytes())
    del body["checksum"]
    body["version"] = 99
    body["checksum"] = digest_json(body)
    manifest.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n")
    with pytest.raises(RunError, match="another release"):
        hpcflow.verify("out/plain.npy")


def test_old_journals_go_when_a_run_is_complete(flow):
    run(flow)
    first = sorted(Path("runs/rot/receipts").iterdir())
    Path("flow.yaml").write_text(FLOW.replace("sigma: 1.0", "sigma: 2.0"))
    run(flow)
    second = sorted(Path("runs/rot/receipts").iterdir())
    assert len(second) == len(first)
    assert not set(first) & set(second)
    assert {path.name for folder in second for path in folder.iterdir()} == {"complete.jsonl"}


def test_a_disk_too_small_is_seen_before_the_start(flow, monkeypatch):
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**4))
    with pytest.raises(
        RunError, match=r"expected 16\.0 MiB free on the disk of `.*plain\.npy`, found 9\.8 KiB"
    ) as error:
        run(flow)
    assert "32.0 KiB for" in str(error.value)
    assert not Path("out/plain.npy").exists()


def test_a_disk_that_is_full_ends_the_run_and_costs_nothing(flow, monkeypatch):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real, calls = os.pwrite, []

    def pwrite(file, content, offset):
        calls.append(offset)
        if len(calls) > 200 and len(content) > 16:
            raise full
        return real(file, content, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(RunError, match="No space left on device") as error:
        run(flow)
    text = str(error.value)
    assert "plain.npy`: the whole array takes 32.0 KiB uncompressed" in text
    assert "hint: make room, then run the same command again" in text
    monkeypatch.setattr(os, "pwrite", real)
    report = run(flow)
    assert report.tasks["reused"] > 0
    assert report.tasks["reused"] + report.tasks["executed"] == report.tasks["total"]


SCRIPT = """
mount -t tmpfs -o size={small}m tmpfs out || exit 99
"$@"; echo "first: $?"
cat log.txt >&2
mount -o remount,size={large}m out
"$@"; echo "second: $?"
cd out && find . -type f ! -name '*.manifest.json' -exec sha256sum {{}} + | sort -k2
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare")
def test_a_full_tmpfs_is_enlarged(case, figures):
    probe = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    if probe.returncode:
        pytest.skip(f"no file system of one's own here: {probe.stderr.decode().strip()}")
    side, small = (4096, 64) if FULL else (1536, 8)
    shape = {"side": side, "block": side // 16, "seconds": 0}
    reference = case("reference", **shape)
    text = (reference.folder / "flow.yaml").read_text()
    only_zarr = "\n".join(line for line in text.splitlines() if "plain" not in line)
    (reference.folder / "flow.yaml").write_text(only_zarr)
    assert reference.run(cluster="threads") == 0, reference.log
    one = case(**shape)
    (one.folder / "flow.yaml").write_text(only_zarr)
    (one.folder / "out").mkdir()
    done = subprocess.run(
        [
            "unshare",
            "-rm",
            "sh",
            "-c",
            SCRIPT.format(small=small, large=16 * small),
            "sh",
            *one.command(cluster="threads"),
        ],
        cwd=one.folder,
        env=one.environment(),
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    lines = done.stdout.splitlines()
    codes = [line for line in lines if line.startswith(("first", "second"))]
    assert codes == ["first: 1", "second: 0"], done.stdout + done.stderr
    assert "No space left on device" in done.stderr
    assert "tiled.zarr`: the whole array takes" in done.stderr
    hashes = {line.split()[1].removeprefix("./"): line.split()[0] for line in lines if "  ./" in line}
    assert hashes == reference.outputs(Path.read_bytes)
    assert one.report["tasks"]["reused"] > 0
    figures(tmpfs_mib=small, reused=one.report["tasks"]["reused"], executed=one.report["tasks"]["executed"])


def test_a_file_that_shrinks_is_an_error_that_names_it(flow):
    source = function("sources", "npy")(path="x.npy")
    os.truncate("x.npy", 4096)
    with pytest.raises(RunError, match=r"expected \d+ bytes in `.*x\.npy`, found 4096"):
        source.read(((0, 64), (0, 64)))


@pytest.mark.parametrize("cluster", ["local", "threads"])
def test_a_file_that_shrinks_during_a_run(case, cluster):
    one = case(seconds=0.3)
    process = one.start(cluster=cluster)
    one.wait_for(1, process)
    os.truncate(one.folder / "x.npy", 4096)
    assert process.wait(60) == 1
    assert "x.npy`, found 4096" in one.log
    assert "flow.yaml:" in one.log


def test_the_command_says_what_is_damaged(flow):
    run(flow)
    Path("out/plain.npy").write_bytes(Path("out/plain.npy").read_bytes()[:-1])

    def verify(*options):
        command = [sys.executable, "-m", "hpcflow", "verify", *options]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False)

    found = verify("out/plain.npy")
    assert found.returncode == 1
    assert "block [3, 3] [48:64, 48:64]" in found.stdout
    assert verify("out/plain.npy", "--repair").returncode == 0
    assert verify("out/plain.npy", "--json").stdout.count('"sound": true') == 1
    nothing = verify("out/nothing.npy")
    assert nothing.returncode == 2
    assert "found no manifest" in nothing.stderr
