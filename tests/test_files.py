"""Only regular files are opened; what is written is whole, private where it should be, and goes through no link."""

import os
import socket
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from hpcflow.errors import Mismatch
from hpcflow.files import OWN, mine, own_file, private, regular_file, sweep, write, written


@pytest.fixture
def special(tmp_path: Path):
    """A path for each kind of thing that is no regular file."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to_pipe").symlink_to("pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "plain").write_bytes(b"12")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        yield {
            "a named pipe": ["pipe", "to_pipe"],
            "a socket": ["socket"],
            "a device": ["/dev/zero"],
            "a folder": ["."],
            "links that lead in a circle": ["loop", "loop/below"],
            "a path below a file": ["plain/below"],
            "a name that is too long": ["n" * 300],
            "which is no path": ["nul\0"],
        }


@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_refused_without_waiting_for_it(special, tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for found, names in special.items():
        for name in names:
            with pytest.raises(Mismatch, match=found):
                regular_file(str(tmp_path / name) if "\0" not in name else name)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_and_a_link_to_one_are_opened(tmp_path):
    (tmp_path / "plain").write_bytes(b"12")
    (tmp_path / "link").symlink_to("plain")
    for name in ("plain", "link"):
        with open(tmp_path / name, "rb", opener=regular_file) as file:
            assert file.read() == b"12"
    with pytest.raises(FileNotFoundError):
        regular_file(tmp_path / "none")


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    with suppress(KeyError), written(path) as file:
        file.write(b"half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    write(path, "one")
    (other := tmp_path / "b.txt").symlink_to("a.txt")
    write(other, "two", mode=OWN)
    assert (path.read_text(), other.read_text(), other.is_symlink()) == ("one", "two", False)
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path, other)] == [0o666 & ~umask(), 0o600]
    with pytest.raises(FileExistsError):
        write(path, "three", replace=False)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def umask():
    before = os.umask(0)
    os.umask(before)
    return before


def test_what_the_dead_have_left_is_removed_and_what_is_being_written_stays(tmp_path):
    kill = "import os, sys\nfrom hpcflow.files import written\nwith written(sys.argv[1]) as file: os._exit(1)"
    subprocess.run([sys.executable, "-c", kill, tmp_path / "a"], check=False)
    (left,) = tmp_path.iterdir()
    (tmp_path / "thesis").write_text("years of work")
    with written(tmp_path / "b"):
        sweep(tmp_path)
        assert not left.exists()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["b", "thesis"]


def test_a_folder_of_ones_own(tmp_path):
    folder = private(tmp_path / "runs" / "edges")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    assert stat.S_IMODE(private(folder).stat().st_mode) == 0o700
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(PermissionError, match="a folder of your own"):
        private(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_is_somebody_elses_is_not_taken_for_ones_own(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "lock").write_text("")
    for name in ("folder", "lock"):
        os.chown(tmp_path / name, 12345, 12345)
        assert not mine(tmp_path / name)
    with pytest.raises(PermissionError, match="a folder of your own"):
        private(tmp_path / "folder")
    with pytest.raises(PermissionError, match="a file of your own"):
        own_file(tmp_path / "lock", os.O_RDWR)


def test_a_lock_is_opened_through_no_link_and_no_second_name(tmp_path):
    (victim := tmp_path / "victim").write_text("years of work")
    (tmp_path / "link").symlink_to(victim)
    os.link(victim, tmp_path / "second")
    for name in ("link", "second"):
        with pytest.raises(OSError, match=r"own|symbolic"):
            own_file(tmp_path / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    assert victim.read_text() == "years of work"
