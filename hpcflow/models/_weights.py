"""Files whose content is known beforehand by its SHA-256, from a path or a URL."""

from __future__ import annotations

import hashlib
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import urlopen

from hpcflow.errors import Mismatch, RunError
from hpcflow.files import OWN, cache_folder, private_cache, regular_file, written
from hpcflow.secrets import redact

TIMEOUT = 60
"""Seconds that a server may stay silent."""


def pinned(where: str, sha256: str, *, hint: str = "") -> bytes:
    """The content of a file, if it is the right one.

    Parameters
    ----------
    where : str
        A path, or an http(s) URL; what is fetched is kept below the user's cache folder.
    sha256 : str
        What the content's SHA-256 must be.
    hint : str
        Where to get the file, for the message where it is not there.

    Raises
    ------
    Mismatch
        If the content is another.
    RunError
        If the file is not there or cannot be fetched.
    """
    if where.startswith(("http://", "https://")):
        return _fetched(where, sha256.lower(), hint)
    try:
        with open(where, "rb", opener=regular_file) as file:
            content = file.read()
    except OSError as error:
        raise RunError(_advice(f"could not read `{where}`: {error.strerror}", hint)) from error
    _check(where, hashlib.sha256(content).hexdigest(), sha256.lower())
    return content


def _check(where: str, found: str, expected: str) -> None:
    if found != expected:
        raise Mismatch(
            f"expected `{where}` to have the SHA-256 {expected}, found {found}",
            parameter="sha256",
            hint="fetch it again, or, if you trust this file, give its digest as `sha256`",
        )


def _fetched(url: str, sha256: str, hint: str) -> bytes:
    kept = cache_folder("weights") / sha256
    if not kept.exists():
        private_cache("weights")
        # Other processes may fetch the same file at the same time: each its own, the last rename wins.
        with written(kept, mode=OWN, lasting=False) as file:
            _check(redact(url), _download(url, file, hint), sha256)
    return pinned(str(kept), sha256)


def _download(url: str, file: BinaryIO, hint: str) -> str:
    digest = hashlib.sha256()
    try:
        with urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 (http or https, see above)
            while piece := answer.read(2**20):
                digest.update(piece)
                file.write(piece)
    except (OSError, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()  # it is the server's answer too, with its connection
        raise RunError(_advice(f"could not fetch `{redact(url)}`: {error}", hint)) from error
    return digest.hexdigest()


def _advice(message: str, hint: str) -> str:
    return f"{message}\n  hint: {hint}" if hint else message
