"""What a shell is offered for an argument that has begun."""

from __future__ import annotations

from pathlib import Path


def flows(incomplete: str) -> list[str]:
    """YAML files, and folders that may hold some."""
    head, slash, _ = incomplete.rpartition("/")
    folder = Path(head + slash or ".")
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    names = [f"{head}{slash}{one.name}" + "/" * one.is_dir() for one in found if _offered(one)]
    return [name for name in names if name.startswith(incomplete)]


def _offered(entry: Path) -> bool:
    return not entry.name.startswith(".") and (entry.is_dir() or entry.suffix in (".yaml", ".yml"))


def uses(incomplete: str) -> list[str]:
    """Ops, sources, sinks and models."""
    from hpcflow import registry  # noqa: PLC0415  (only when asked: it makes every key press slower)

    return sorted({name for kind in registry.KINDS for name in registry.names(kind) if name.startswith(incomplete)})


def clusters(incomplete: str) -> list[str]:
    """Kinds of clusters, profiles in `cluster/`, and YAML files."""
    from hpcflow.clusters.profiles import KINDS  # noqa: PLC0415

    names = {kind.replace("_", "-") for kind in KINDS} | {one.stem for one in Path("cluster").glob("*.yaml")}
    return [
        *(name for name in sorted(names) if name.startswith(incomplete)),
        *(flows(incomplete) if incomplete else []),
    ]
