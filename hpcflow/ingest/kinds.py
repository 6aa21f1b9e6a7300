"""What a body is, told by its first bytes, and the name that says so.

A URL such as `photo?id=1`, `x.php` or `x.jpg!large` says nothing of what it gives, and some say what is wrong.
"""

from __future__ import annotations

import re
from os.path import splitext

from hpcflow.ingest.failures import plain

HEAD = 64
"""Bytes that are looked at."""
ENDINGS = {
    ".jpg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    ".png": (".png", ".apng"),
    ".gif": (".gif",),
    ".webp": (".webp",),
    ".tif": (".tif", ".tiff"),
    ".bmp": (".bmp", ".dib"),
    ".avif": (".avif", ".avifs"),
    ".heic": (".heic", ".heif"),
    ".jp2": (".jp2", ".j2k", ".jpx"),
    ".jxl": (".jxl",),
    ".npy": (".npy",),
    ".pdf": (".pdf",),
    ".html": (".html", ".htm", ".xhtml"),
}
"""The endings of each kind, by the one that it is given."""
PROGRAMS = ("", ".php", ".asp", ".aspx", ".jsp", ".cgi")
"""Endings of URLs that say nothing of what comes."""
VAGUE = {*PROGRAMS, *(one for some in ENDINGS.values() for one in some)}
"""Endings that give way to what the bytes say; those of other kinds of files are kept."""
STARTS = {
    rb"\xff\xd8\xff": ".jpg",
    rb"\x89PNG\r\n\x1a\n": ".png",
    rb"GIF8[79]a": ".gif",
    rb"RIFF....WEBP": ".webp",
    rb"II[*+]\0|MM\0[*+]": ".tif",
    rb"BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}": ".bmp",
    rb"\0\0..ftypavi[fs]": ".avif",
    rb"\0\0..ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)": ".heic",
    rb"\0\0\0\x0cjP  \r\n\x87\n": ".jp2",
    rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n": ".jxl",
    rb"\x93NUMPY": ".npy",
    rb"%PDF-": ".pdf",
    rb"(?i:(?:\xef\xbb\xbf)?\s*+<(?:!doctype html|html))": ".html",
}
"""How files of each kind begin."""
_START = re.compile(b"|".join(b"(%s)" % start for start in STARTS), re.DOTALL)
_KINDS = ("", *STARTS.values())


def told(head: bytes) -> str:
    """The ending for what begins so; empty where the bytes say nothing."""
    found = _START.match(head)
    return _KINDS[found.lastindex or 0] if found else ""


def named(name: str, kind: str) -> str:
    """A file's name with the ending for what is in it, where its own says nothing or something else."""
    if not kind:
        return name
    root, ending = splitext(name)  # noqa: PTH122  (for every URL: text is faster)
    return name if ending.lower() in ENDINGS[kind] or ending.lower() not in VAGUE else root + kind


def stem(name: str) -> str:
    """What stays of a name whatever is in the file."""
    root, ending = splitext(name)  # noqa: PTH122  (for every URL: text is faster)
    return root if ending.lower() in VAGUE else name


def note(name: str, kind: str, coding: str) -> str | None:
    """What to know of a body that came, if anything: `name` is what its URL let expect."""
    if coding:
        return plain(f"came in the encoding `{coding[:20]}`, and is stored so")
    return "is a web page" if kind == ".html" and not name.lower().endswith(ENDINGS[".html"]) else None
