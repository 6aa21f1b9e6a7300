"""What `check` says about a broken flow: shared by the test and by who adds a pair."""

from pathlib import Path

from hpcflow.errors import FlowError
from hpcflow.spec.validate import load
from hpcflow.text.document import parse_value


def options(path: Path) -> tuple[bool, dict[str, object]]:
    """From a first line such as ``# run -p sigma=3``: whether inputs must be there, and the overrides."""
    first = path.read_bytes().split(b"\n")[0].decode(errors="replace")
    words = first.removeprefix("# ").split() if first.startswith(("# run", "# -p")) else []
    pairs = [word.split("=", 1) for word in words if "=" in word]
    return "run" in words, {name: parse_value(value, name) for name, value in pairs}


def said(path: Path) -> str:
    """Every message about a flow, as `check` prints them in its folder."""
    needed, params = options(path)
    try:
        faults = load(path.name, params, missing_ok=not needed).warnings
    except FlowError as error:
        faults = error.faults
    return "\n".join(map(str, faults)).replace(str(Path.cwd()), "/here")
