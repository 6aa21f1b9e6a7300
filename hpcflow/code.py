"""What an add-on's code is, as far as it tells whether finished blocks are as it would make them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from hpcflow.digests import digest, digest_json


def code_of(thing: Any) -> str:
    """The digest of the code behind a function or an object; empty where it is hpcflow's own.

    It takes in the version of the distribution, the module, and those modules of the same package that
    it imports. Comments, docstrings and layout change nothing.
    """
    return "" if is_own(thing) else _code(_module(thing))


def is_own(thing: Any) -> bool:
    """Whether a function or an object is hpcflow's own."""
    return _module(thing).partition(".")[0] == "hpcflow"


def _module(thing: Any) -> str:
    return getattr(thing, "__module__", None) or type(thing).__module__


@cache
def _code(module: str) -> str:
    top = module.partition(".")[0]
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or name.partition(".")[0] != top:
            continue
        path = _file(name)
        if path is None:
            continue
        content = path.read_bytes()
        found[name] = digest([content])
        if path.suffix == ".py":
            tree = ast.parse(content)
            waiting += _imported(tree, name if path.name == "__init__.py" else name.rpartition(".")[0])
            found[name] = digest([ast.dump(_without_docstrings(tree)).encode()])
    return digest_json([[version(one) for one in packages_distributions().get(top, [])], found])


def _file(name: str) -> Path | None:
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None  # a name within a module, or a module that was never a file
    return Path(spec.origin) if spec is not None and spec.origin and Path(spec.origin).is_file() else None


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else str(node.module)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = node.body[ast.get_docstring(node) is not None :]
    return tree
