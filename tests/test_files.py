"""Only regular files are opened."""

import os
import socket
from pathlib import Path

import pytest

from hpcflow.errors import Mismatch
from hpcflow.files import regular_file


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
