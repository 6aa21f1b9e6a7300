"""URLs as text: what may be shown of one, what it is called on disk, whom it asks."""

from __future__ import annotations

import hashlib
import re
from os.path import splitext
from urllib.parse import unquote, urlsplit

from hpcflow.ingest.kinds import stem
from hpcflow.secrets import STRUCK, redact

HIDDEN = STRUCK
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
WEB = ("http", "https")
UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What was no UTF-8 in a list, and what would act on a terminal."""
EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}")
HASHED = re.compile(r"(?i)[0-9a-f]{32}")
LONGEST_NAME = 120
LONGEST_PATH = 4096
SIGNED = (
    (r"x-amz-signature=", r"x-amz-[a-z-]+"),
    (r"x-goog-signature=", r"x-goog-[a-z-]+"),
    (r"(?:awsaccesskeyid|googleaccessid|key-pair-id)=", r"awsaccesskeyid|googleaccessid|key-pair-id|expires|policy"),
    (r"sv=", r"s[vertpsi]|spr|srt|sip|sk(?:oid|tid|[tesv])"),
)
"""How stores sign URLs: a parameter that tells, and those that go with the signature."""


def is_url(text: str) -> bool:
    """Whether a path is a URL."""
    return URL.match(text) is not None


def scheme(url: str) -> str:
    """What comes before ``://``, in small letters."""
    return url.partition("://")[0].lower()


def shown(url: str) -> str:
    """The URL without what grants access: passwords, tokens, signatures; references to them stay."""
    text = redact(url)
    text = UNSHOWABLE.sub(_as_sent, text)
    if not is_url(text) and len(text) > LONGEST_PATH:  # a picture as `data:`, perhaps
        text = f"{text[:LONGEST_NAME]}… ({len(text):,} characters)"
    return text


def _as_sent(found: re.Match[str]) -> str:
    try:
        return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # half of a pair
        return "?"


def origin(url: str) -> str:
    """Scheme, host and port: what credentials belong to and what caps count by."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return url
    default = {"http": 80, "https": 443}.get(parts.scheme.lower())
    return f"{parts.scheme.lower()}://{(parts.hostname or '').lower()}:{port or default or ''}"


def unsigned(url: str) -> str:
    """The URL without a store's signature and what goes with it, which are others each time that it is signed."""
    if "?" in url and re.search(r"(?i)[?&](?:x-(?:amz|goog)-)?sig(?:nature)?=", url):
        for sign, names in SIGNED:
            if re.search(rf"(?i)[?&]{sign}", url):
                url = re.sub(rf"(?i)(?<=[?&])(?:{names}|sig|signature|x-amz-security-token)=[^&#]*&?", "", url)
                return url.rstrip("&?")
    return url


def key(url: str, headers: tuple[tuple[str, str], ...] = ()) -> str:
    """The name in the cache of a URL asked with some headers: the same however often it is signed anew."""
    text = unsigned(url) + (f"\n{headers}" if headers else "")
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def extension(url: str) -> str:
    """The ending of the file that a URL names, if it is a plain one: `.jpg`."""
    try:
        found = splitext(unquote(urlsplit(url).path).rstrip("/"))[1]  # noqa: PTH122  (for every URL: text is faster)
    except ValueError:
        return ""
    return found.lower() if EXTENSION.fullmatch(found) else ""


class Names:
    """What each item is called on disk: never what its URL says, and never the same for two."""

    def __init__(self) -> None:
        self._taken = {_mark("manifest.parquet")}

    def of(self, url: str, label: str | None) -> str:
        """A name for an item: from its label (a list's `id`) where that is harmless, else a hash."""
        ending = extension(url)
        if not label:
            return key(url)[:32] + ending
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", label).lstrip(".-")[:LONGEST_NAME]
        root = plain[: -len(ending)] if ending and plain.lower().endswith(ending) else plain
        mark = _mark(stem(root + ending))
        if root and plain == label and mark not in self._taken and not HASHED.fullmatch(root):
            self._taken.add(mark)
            return root + ending
        return f"{root or 'item'}-{key(label + ' ' + url)[:12]}{ending}"


def _mark(name: str) -> int:
    # Some file systems take names that differ in case for the same; a number takes less memory.
    return hash(name.lower())
