"""Certificates and folders of a run's own, and what is said where they cannot be had."""

import stat
import sys
from pathlib import Path

import pytest

from hpcflow.clusters._security import FILES, certificates, folder, shared
from hpcflow.clusters.profiles import Profile, open_pool
from hpcflow.errors import Mismatch, MissingPackage, RunError


def test_each_run_has_certificates_that_no_other_has():
    first, second = (certificates(Profile("local", 1, 1)) for _ in range(2))
    assert first.require_encryption
    assert len({getattr(one, name) for one in (first, second) for name in FILES}) == 4  # a key and a certificate each


@pytest.mark.parametrize(
    "options", [{"protocol": "tcp"}, {"protocol": "tcp://"}, {"protocol": "ucx"}, {"enable_nvlink": True}]
)
def test_without_tls_a_run_starts_only_where_the_profile_says_so(options):
    with pytest.raises(Mismatch, match="expected `protocol: tls`, found `(tcp|tcp://|ucx)`") as caught:  # noqa: RUF043
        open_pool(Profile("local", 1, 1, options=options)).__enter__()
    assert "other users of the machine can run code as you" in caught.value.hint
    assert "`insecure: true`" in caught.value.hint
    assert certificates(Profile("local", 1, 1, options=options, insecure=True)) is None


def test_what_certificates_need_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MissingPackage, match="pip install cryptography"):
        open_pool(Profile("local", 1, 1)).__enter__()


def test_for_other_machines_they_are_files_that_their_owner_alone_can_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with shared(Profile("ssh", 1, 1)) as (given, path):
        assert path.parent == tmp_path
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert {Path(given[name]) for name in FILES} == set(path.iterdir())
        assert {stat.S_IMODE(one.stat().st_mode) for one in path.iterdir()} == {0o600}
    assert not list(tmp_path.iterdir())
    own = {"tls_ca_file": "ca.pem"}
    with shared(Profile("ssh", 1, 1, options={"security": own})) as (given, path):
        assert given == {"require_encryption": True, **own}
        assert not list(path.iterdir())
    with shared(Profile("ssh", 1, 1, insecure=True)) as (given, _):
        assert given == {}


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"no folder for the workers in .*file"), folder(tmp_path / "file" / "below"):
        pass
