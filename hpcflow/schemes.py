"""Which URLs may be opened: those of a short list of schemes, wherever one can stand.

Behind other schemes of fsspec stand programs that run what a server answers (``dask://`` unpickles it),
or that reach further than whoever reads a flow can see.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import unquote, urlsplit

from hpcflow.errors import Mismatch

SCHEMES = ("file", "http", "https", "s3", "gs", "az", "memory")
CACHES = ("simplecache", "blockcache", "filecache")
"""What fsspec puts before one of them, `simplecache::s3://…`, and hpcflow does not need.

The last two unpickle, before fsspec 2026.6, what stands in a folder that the flow names."""
GROUP = "hpcflow.schemes"
"""Entry points of this group add the schemes that they are called."""
_HINT = f"a package may add a scheme by the entry point `{GROUP}`; a flow may not"
_ALONE = "write the URL alone: photos and flat files are kept in hpcflow's own cache"
_NAME = re.compile(r"\s*([A-Za-z][\w+.-]*)\s*")
_LINK = re.compile(r"\s*([\w+-]+)\s*(:.*)?", re.DOTALL)
_ADDRESS = re.compile(r"\[[0-9A-Fa-f:.%]*\]")
"""Of a server, in version 6: its colons part nothing."""


@cache
def _listed() -> frozenset[str]:
    return frozenset((*SCHEMES, *(point.name for point in entry_points(group=GROUP))))


def unlisted(value: Any) -> Iterator[tuple[tuple[str | int, ...], Mismatch]]:
    """What in a value, at any depth, names a scheme that may not be opened: where, and the error to raise."""
    if isinstance(value, str):
        for name in _names(value):
            if name.lower() not in _listed():
                yield (), _refused(name)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            # `protocol`, `target_protocol`, `remote_protocol`: a scheme by its name alone.
            protocols = _texts(one) if str(key).lower().endswith("protocol") else ()
            bare = ((name, _refused(name)) for name in protocols if name.lower() not in _listed())
            yield from (((key,), error) for name, error in bare if not list(_names(name)))
            yield from (((key, *path), error) for path, error in unlisted(one))
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, one in enumerate(value):
            yield from (((index, *path), error) for path, error in unlisted(one))


def expect_listed(*values: Any) -> None:
    """Refuse a URL, or options for opening one, that name a scheme which is not on the list.

    Raises
    ------
    Mismatch
        Of the parameter `path`.
    """
    for _, error in unlisted(values):
        raise error


def _names(text: str) -> Iterator[str]:
    """The schemes that a text names, where it is a URL or a chain of them: `simplecache::s3://…`."""
    first, *links = _ADDRESS.sub("", text).split("::")
    name = _NAME.fullmatch(first.partition("://")[0])
    if name is None or not ("://" in first or links):
        return
    yield name[1]
    # After the address of a page `::` may just be part of it.
    links = [link for link in links if "://" in link] if name[1].lower() in ("http", "https") else links
    yield from (found[1] for link in links if (found := _LINK.fullmatch(link)))


def _texts(value: Any) -> Iterator[str]:
    yield from [value] if isinstance(value, str) else [str(one) for one in value] if isinstance(value, list) else []


def _refused(name: str) -> Mismatch:
    schemes = ", ".join(f"`{one}`" for one in SCHEMES)
    hint = _ALONE if name.lower() in CACHES else _HINT
    return Mismatch(f"expected a URL of {schemes}; found `{name[:40]}`", parameter="path", hint=hint)


def localised(value: Any) -> Any:
    """The path that a `file:` URL stands for; any other value as it is.

    Raises
    ------
    Mismatch
        Where it names another machine, or no absolute path.
    """
    if not isinstance(value, str) or not value.lower().startswith("file://"):
        return value
    host, slash, path = value[len("file://") :].partition("/")
    if host.lower() not in ("", "localhost") or not slash:
        raise Mismatch(
            f"expected `file:///` and an absolute path, found `file://{urlsplit(value).hostname or ''}`",
            parameter="path",
            hint="a relative path stands by itself, without a scheme",
        )
    # As written where there is such a file, else with `%20` for a space, as browsers write it.
    return f"/{path}" if os.path.exists(f"/{path}") else f"/{unquote(path)}"  # noqa: PTH110


def local_path(path: str) -> str:
    """The absolute path of what is only ever on this machine.

    Raises
    ------
    Mismatch
        Where it is a URL.
    """
    path = localised(path)
    if "://" in path:
        raise Mismatch(f"expected a local path, found the URL `{path}`", parameter="path")
    # Without `..`, which means one thing before a folder on the way is made and another one after.
    return os.path.abspath(path)  # noqa: PTH100  (the only one that does)
