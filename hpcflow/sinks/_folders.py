"""Outputs that are folders of Zarr: what may be replaced, and how a finished one gets its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpcflow.errors import RunError
from hpcflow.files import PARTIAL, mine, sync
from hpcflow.sinks._consolidated import listed
from hpcflow.sinks._parts import leftovers, store, sync_all

_OLD = ".hpcflow-replaced"
SIGNATURE = "hpcflow"
"""The attribute that says where an array came from."""


def cleared(path: str, part: str) -> None:
    """Remove what runs have left unfinished under a name, see that nothing else is in its way, and make its folder."""
    restored(path)
    _replaceable(Path(path))
    for left in leftovers(path):
        _remove(left)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        Path(part).mkdir()
    except FileExistsError:
        raise RunError(f"expected a name that is free, found that `{part}` is taken") from None


def taken_over(path: str, part: str, key: str) -> None:
    """Give what a run of the same key, cut short, has left this run's name."""
    restored(path)
    for left in leftovers(path, key) if key else []:
        if str(left) != part:
            left.rename(part)


def there(path: str, part: str) -> str:
    """The folder as it is now: unfinished or finished."""
    return part if Path(part).is_dir() else path


def sign(folder: str, provenance: Mapping[str, Any] | None) -> None:
    """Put where it came from among the attributes of what stands in a folder, unless it says so already."""
    if provenance is None:
        return
    before = Path(folder, "zarr.json").read_bytes()
    document = json.loads(before)
    document["attributes"] = {**document.get("attributes", {}), SIGNATURE: provenance}
    after = json.dumps(document, indent=2).encode()
    if after != before:
        store(folder, "zarr.json", memoryview(after))


def unsigned(document: bytes) -> Any:
    """Metadata as JSON values, without where it came from."""
    found = json.loads(document)
    found.get("attributes", {}).pop(SIGNATURE, None)
    return found


def published(path: str, part: str, *, fenced: bool) -> None:
    """Make sure that all of a folder is on the disk, give it its name, and list it in groups around it."""
    if Path(part).is_dir():  # else an earlier run has given it its name
        _named(path, part, fenced=fenced)
    listed(path)


def _named(path: str, part: str, *, fenced: bool) -> None:
    # Under this name no process of this run, or of any other, writes into it any more.
    done = Path(part + "-done") if fenced else Path(part)
    Path(part).rename(done)
    sync_all(str(done))
    final = Path(path)
    _replaceable(final)
    old = Path(path + _OLD)
    if final.exists():
        final.rename(old)
    done.rename(final)
    sync(final.parent)
    _remove(old)
    for left in leftovers(path):
        _remove(left)


def restored(path: str) -> None:
    """Undo a replacement that was cut short between its two renames."""
    old = Path(path + _OLD)
    if mine(old) and _is_ours(old):
        if Path(path).exists():
            shutil.rmtree(old)
        else:
            old.rename(path)


def _is_ours(folder: Path) -> bool:
    """Whether a Zarr array of either version, or a pyramid of them, stands in the folder; no other group counts."""
    if (folder / ".zarray").is_file():
        return True
    try:
        document = json.loads((folder / "zarr.json").read_bytes())
    except (OSError, ValueError):
        return False
    if not isinstance(document, dict):
        return False
    return document.get("node_type") == "array" or _is_pyramid(folder, document.get("attributes"))


def _is_pyramid(folder: Path, attributes: object) -> bool:
    """Whether a group holds the levels of one image and no other array or group."""
    try:
        (image,) = attributes["ome"]["multiscales"]  # type: ignore[index]
        levels = {str(one["path"]) for one in image["datasets"]}
    except (KeyError, TypeError, ValueError):
        return False
    return all(one.name in levels or one.name == "zarr.json" for one in folder.iterdir())


def _replaceable(folder: Path) -> None:
    """Refuse to replace anything but a Zarr array, an empty folder, or what was left of creating one."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise RunError(
            f"expected a folder or nothing at `{folder}`, found a {'link' if folder.is_symlink() else 'file'}"
        )
    if not folder.is_dir() or _is_ours(folder):
        return
    if not all(_begun(one) for one in folder.iterdir()):
        raise RunError(
            f"expected a Zarr array or an empty folder to replace at `{folder}`, found a folder of other files; "
            "give another path or remove it yourself"
        )


def _begun(entry: Path) -> bool:
    """Whether it is what creating an array, or the levels of a pyramid, leaves when it is cut short."""
    if entry.is_dir() and not entry.is_symlink():
        return entry.name.isdigit() and all(_begun(one) or one.name == "zarr.json" for one in entry.iterdir())
    return entry.match(f"zarr.*{PARTIAL}")


def _remove(folder: Path) -> None:
    _replaceable(folder)
    if folder.exists():
        shutil.rmtree(folder)
