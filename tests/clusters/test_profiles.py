import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.clusters.base import cores
from hpcflow.clusters.profiles import KINDS, Profile, fill, profile
from hpcflow.clusters.slurm import slurm_options
from hpcflow.errors import FlowError, Mismatch

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(text, path="cluster/mine.yaml"):
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(text)


def test_every_kind_is_a_profile_by_itself():
    assert KINDS == ("existing", "local", "local_cuda", "slurm", "ssh", "synchronous", "threads")
    for kind in KINDS:
        if kind != "local_cuda":
            assert profile(kind).kind == kind
    assert profile("threads") == Profile("threads", 1, cores())
    assert profile("synchronous") == Profile("synchronous", 1, 1)


def test_a_profile_is_read_by_name_and_by_path():
    write("kind: local\nworkers: 3\nthreads: 2\nmemory: 2GiB\ndashboard: false\noptions: {local_directory: /x}\n")
    expected = Profile("local", 3, 2, 2 * 2**30, "cpu", dashboard=False, options={"local_directory": "/x"})
    assert profile("mine") == expected
    assert profile("cluster/mine.yaml") == expected
    assert profile(Path("cluster/mine.yaml")) == expected


def test_what_the_caller_says_takes_precedence():
    write("kind: local\nworkers: 3\nmemory: 2GiB\n")
    found = profile("mine", workers=1, threads=5, memory=10, dashboard=":0")
    assert (found.workers, found.threads, found.memory, found.dashboard) == (1, 5, 10, ":0")


def test_a_folder_s_own_profile_hides_the_kind_of_its_name():
    write("kind: threads\nthreads: 7\n", "cluster/local.yaml")
    assert profile("local") == Profile("threads", 1, 7)


def test_the_profile_that_ships_is_the_default(monkeypatch):
    bare = profile("local")
    monkeypatch.chdir(ROOT)
    assert profile("local") == bare


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("threads", {"workers": 2}, "expected 1 for the cluster `threads`, found 2"),
        ("synchronous", {"threads": 2}, "expected 1 for the cluster `synchronous`, found 2"),
    ],
)
def test_what_a_kind_has_one_of_cannot_be_several(kind, given, message):
    with pytest.raises(Mismatch, match=message) as caught:
        profile(kind, **given)
    assert caught.value.parameter == next(iter(given))
    assert profile(kind, workers=1) == profile(kind)


def test_an_unknown_name_is_refused_with_what_there_is():
    write("kind: local\n")
    with pytest.raises(Mismatch) as caught:
        profile("thread")
    kinds = "`existing`, `local`, `local-cuda`, `mine`, `slurm`, `ssh`, `synchronous`, `threads`"
    expected = f"expected one of {kinds} or the path of a profile, found 'thread'"
    assert str(caught.value) == expected
    assert caught.value.hint == "did you mean `threads`?"


BROKEN = {
    "kind: slrum\n": "mine.yaml:1:7: error: expected `kind` to be one of existing, local, local_cuda, slurm, ssh, ",
    "workers: 2\n": "mine.yaml: error: expected `kind`, found none",
    "kind: local\nworker: 2\n": "mine.yaml:2:1: error: expected a key of a profile, found `worker`",
    "kind: local\nworkers: 0\n": "mine.yaml:2:10: error: expected `workers` to be",
    "kind: local\nmemory: much\n": "mine.yaml:2:9: error: expected `memory` to be a size such as 2GiB or 500MB, found",
    "kind: local\noptions: 3\n": "mine.yaml:2:10: error: expected `options` to be",
    "kind: [local\n": "mine.yaml:1:7: error: expected `]` to close this list, found the end of the file",
    "kind: local\nkind: threads\n": "mine.yaml:2:1: error: expected each key once, found `kind` again",
    "kind: &k local\noptions: {host: *k}\n": "mine.yaml:1:7: error: expected no anchors (`&name`) and no aliases",
    "kind: local\n---\nkind: local\n": "mine.yaml:2:1: error: expected one document in a file, found another",
    "options: " + "[" * 40 + "]" * 40: "mine.yaml:1:41: error: expected at most 32 levels of nesting, found more",
    "# " + "x" * 2**20: "mine.yaml: error: expected at most 1048576 bytes, found a larger file",
    "- local\n": "mine.yaml: error: expected keys and values, `kind` among them, found none",
    "": "mine.yaml: error: expected keys and values, `kind` among them, found none",
    "kind: !!python/name:os.system\n": "mine.yaml:1:7: error: expected no tags",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_fault_in_a_file_is_located(text):
    write(text)
    with pytest.raises(FlowError) as caught:
        profile("mine")
    assert BROKEN[text] in str(caught.value)


def test_every_fault_is_reported():
    write("kind: nothing\nworkers: -1\nthread: 2\n")
    with pytest.raises(FlowError) as caught:
        profile("mine")
    assert len(caught.value.faults) == 3
    assert "did you mean `threads`?" in str(caught.value)


def test_scalars_are_those_of_yaml_1_2():
    # In YAML 1.1, still the default of most parsers, these are 43,200, False, True and eight.
    write("kind: slurm\nmemory: 1GiB\noptions:\n  walltime: 12:00:00\n  queue: no\n  account: on\n  processes: 010\n")
    options = profile("mine", workers=10).options
    assert options == {"walltime": "12:00:00", "queue": "no", "account": "on", "processes": 10}
    assert slurm_options(profile("mine", workers=10))["walltime"] == "12:00:00"


def test_a_pipe_is_not_waited_for():
    os.mkfifo("pipe.yaml")
    # Neither is what is no file taken for one.
    for name in ("pipe.yaml", "/dev/zero"):
        with pytest.raises(Mismatch, match="expected one of"):
            profile(name)


def test_a_file_that_is_no_text_is_refused():
    Path("x.yaml").write_bytes(b"kind: \xff")
    with pytest.raises(FlowError, match=r"x\.yaml:1:7: error: expected UTF-8, found the byte 0xff"):
        profile("x.yaml")


@settings(deadline=None, max_examples=100)
@given(
    st.none() | st.integers(1, 100),
    st.none() | st.integers(1, 100),
    st.integers(1, 256),
)
def test_all_cores_are_used_unless_told_otherwise(workers, threads, available):
    found = fill(workers, threads, available)
    assert found[0] == workers if workers else found[0] >= 1
    assert found[1] == threads if threads else found[1] >= 1
    if workers is None and threads is None:
        assert available / 2 < found[0] * found[1] <= available
        assert found[1] <= 8
