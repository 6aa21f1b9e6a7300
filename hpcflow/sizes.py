"""Amounts as people write them: bytes in and out of text."""

from __future__ import annotations

import re
from math import floor

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40, "pi": 2**50}


def parse_size(text: str | int) -> int:
    """The number of bytes in a size such as ``2GiB``, ``500MB`` or ``1.5G``.

    As everywhere, ``k``, ``M``, ``G`` are powers of 1000 and ``Ki``, ``Mi``, ``Gi`` of 1024.

    Raises
    ------
    ValueError
        Where it is no size, or no byte is left of it.
    """
    match = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*([kmgtp]i?)?b?", str(text).strip(), re.IGNORECASE)
    size = int(float(match[1]) * (UNITS | BINARY)[(match[2] or "").lower()]) if match else 0
    if size < 1:
        raise ValueError(f"expected a size such as 2GiB or 500MB, found {str(text)!r}")
    return size


def show_size(size: float) -> str:
    """A number of bytes as people read it: ``1.5 GiB``."""
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while abs(size) >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    whole = units[0] == "B" or abs(size) >= 100
    return f"{size:.0f} {units[0]}" if whole else f"{size:.1f} {units[0]}"


def parse_share(text: str) -> int | float:
    """How many of something: a number such as ``5``, or a share of all such as ``10%`` or ``0.1``.

    Returns
    -------
    int or float
        An `int` is a number, a `float` from 0 to 1 a share of all.

    Raises
    ------
    ValueError
        Where it is neither.
    """
    match = re.fullmatch(r"([0-9]+)(\.[0-9]*)?(%?)|(\.[0-9]+)(%?)", text.strip())
    if match and not (match[2] or match[3] or match[4]):
        return int(match[1])
    share = float(text.strip().rstrip("%")) / (100 if "%" in text else 1) if match else 2.0
    if share > 1:
        raise ValueError(f"expected a number such as 5, or a share such as 10% or 0.1, found {text!r}")
    return share


def share_of(share: int | float, items: int) -> int:  # noqa: PYI041  (they mean different things)
    """How many of some items a share is, rounded down, an integer being itself."""
    # 0.29 * 100 is a little less than 29.
    return share if isinstance(share, int) else floor(round(share * items, 6))
