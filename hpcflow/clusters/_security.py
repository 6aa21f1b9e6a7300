"""What closes a run's scheduler and workers to everybody else: certificates and a folder of its own.

Whoever may speak to one of Dask's servers runs code as its user, and whoever may write to the
folder it works in does so too: that folder stands first on its `sys.path`. So each run has
certificates that nobody else has, and a folder that its owner alone can enter. Dask's own would
be `dask-scratch-space` in the folder for temporary files, whoever made it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from distributed import Security

from hpcflow.clusters.profiles import Profile
from hpcflow.errors import Mismatch, MissingPackage, RunError

ENCRYPTED = ("tls", "wss", "ucxs")
FILES = (
    "tls_ca_file",
    *(f"tls_{role}_{part}" for role in ("scheduler", "worker", "client") for part in ("cert", "key")),
)


def certificates(profile: Profile) -> Security | None:
    """Certificates made for this run, in memory; `None` where the profile wants none.

    Raises
    ------
    Mismatch
        Where the profile asks for a protocol without TLS, and does not say that this is meant.
    """
    if profile.insecure:
        return None
    asked = str(profile.options.get("protocol") or "tls")
    if asked.partition("://")[0] not in ENCRYPTED or profile.options.get("enable_nvlink"):
        asked = "ucx" if profile.options.get("enable_nvlink") else asked
        hint = "without TLS, other users of the machine can run code as you; where there are none, `insecure: true`"
        raise Mismatch(f"expected `protocol: tls`, found `{asked}`", parameter="cluster", hint=hint)
    try:
        return Security.temporary()
    except ImportError as error:
        raise MissingPackage("certificates for a run need cryptography: pip install cryptography") from error


@contextmanager
def folder(within: str | Path | None = None) -> Iterator[Path]:
    """A folder that its owner alone can enter, as long as a run lasts.

    Parameters
    ----------
    within : path, optional
        Where it is made; by default in the system's folder for temporary files.
    """
    try:
        if within is not None:
            Path(within).mkdir(parents=True, exist_ok=True)
        made = TemporaryDirectory(prefix=".hpcflow-", dir=within, ignore_cleanup_errors=True)
    except OSError as error:
        raise RunError(f"no folder for the workers in {error.filename}: {error.strerror}") from error
    with made as path:
        yield Path(path)


@contextmanager
def shared(profile: Profile) -> Iterator[tuple[Mapping[str, Any], Path]]:
    """What `Security` takes on any machine, certificates as paths, and the folder that the machines share.

    Nothing is given to `Security` where the profile wants no TLS.
    """
    given = profile.options.get("security")
    with folder(Path.cwd()) as path:
        if given:
            yield {"require_encryption": True, **given}, path
            return
        made = certificates(profile)
        files = {} if made is None else {name: _written(path / name, getattr(made, name)) for name in FILES}
        yield {"require_encryption": True, **files} if files else {}, path


def _written(path: Path, text: str) -> str:
    path.touch(0o600, exist_ok=False)
    path.write_text(text)
    return str(path)
