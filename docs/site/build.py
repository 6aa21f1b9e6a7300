"""Build the documentation: `python docs/site/build.py` writes .site/html; any warning is an error.

The pages are those of docs/, and some that are made here: a page for each op with a picture
that the op itself makes, and the reference, from signatures and docstrings.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
DOCS, ROOT = HERE.parent, HERE.parents[1]
SITE = ROOT / ".site"
PAGES = SITE / "pages"
FILES = "https://github.com/hpcflow/hpcflow/blob/main/"

sys.path.insert(0, str(HERE))
import reference  # noqa: E402  (beside this file)

NAV: list[tuple[str, list[str]]] = [
    ("Start", ["index.md", "concepts.md", "tutorial/photos.md", "tutorial/plane.md", "tutorial/volume.md"]),
    (
        "How to",
        ["howto/plugin.md", "models.md", "ingest.md", "howto/editor.md", "howto/xarray.md", "clusters.md", "gpu.md"],
    ),
    ("Why it holds", ["design.md", "memory.md", "reliability.md", "performance.md", "benchmarks.md"]),
]


def main() -> None:
    """Write the pages, then have MkDocs make a site of them."""
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.copytree(DOCS, PAGES, ignore=shutil.ignore_patterns("site"))
    (PAGES / "index.md").write_text(home((ROOT / "README.md").read_text(encoding="utf-8")), encoding="utf-8")
    (PAGES / "changelog.md").write_text((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), encoding="utf-8")
    generated = reference.write(PAGES)
    for page in PAGES.rglob("*.md"):
        page.write_text(linked(page.read_text(encoding="utf-8"), page.relative_to(PAGES)), encoding="utf-8")
    config: dict[str, Any] = yaml.safe_load((HERE / "mkdocs.yml").read_text(encoding="utf-8"))
    config["nav"] = navigation(generated)
    (SITE / "mkdocs.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--config-file",
        str(SITE / "mkdocs.yml"),
    ]
    # The theme speaks of another program at every build.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    sys.exit(subprocess.run(command, check=False, env=environment).returncode)  # noqa: S603


def home(readme: str) -> str:
    """The README as the first page: its links are relative to the top of the repository."""
    return re.sub(r"\]\(docs/", "](", readme)


def linked(text: str, page: Path) -> str:
    """Let links to files outside docs/ lead to the repository."""

    def turn(match: re.Match[str]) -> str:
        target, _, anchor = match[1].partition("#")
        if not target or "://" in target or (PAGES / page.parent / target).exists():
            return match[0]
        base = ROOT if page.name in ("index.md", "changelog.md") and page.parent == Path() else DOCS / page.parent
        there = (base / target).resolve()
        if not there.exists() or not there.is_relative_to(ROOT):
            return match[0]  # MkDocs will say so
        return f"]({FILES}{there.relative_to(ROOT)}{f'#{anchor}' if anchor else ''})"

    return re.sub(r"\]\(([^)\s]+)\)", turn, text)


def navigation(generated: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Sections and their pages; those of docs/ that no section names are put with the reasons."""
    listed = {page for _, pages in NAV for page in pages}
    others = sorted(
        str(page.relative_to(PAGES))
        for page in PAGES.rglob("*.md")
        if str(page.relative_to(PAGES)) not in listed and not str(page.relative_to(PAGES)).startswith("reference")
    )
    nav = [{name: [page for page in pages if (PAGES / page).exists()]} for name, pages in NAV]
    nav[-1][NAV[-1][0]] += others
    return [*nav, {"Reference": [entry(name, pages) for name, pages in generated.items()]}]


def entry(name: str, pages: list[str]) -> Any:
    """A section of the navigation, or its only page."""
    if len(pages) > 1:
        return {name: pages}
    return {name: pages[0]} if name else pages[0]


if __name__ == "__main__":
    main()
