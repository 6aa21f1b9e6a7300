"""Credentials: known only where they are used, struck out of everything that is written or shown.

Those from the environment are written ``${env:NAME}``: a flow's values, graph, reports and receipts hold
the reference, never the value. What opens a file or a connection calls `reveal` on its parameters at that
moment, on whatever machine it runs.

Others stand in the flow or on the command line: the signature in a URL, a `token` among the parameters.
They are told by their names (`is_secret`) and by their shapes, and struck out by `redact`, through which
every text goes before it leaves the process; and by `redacted`, for values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from hpcflow.errors import Mismatch

T = TypeVar("T")
REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
HOLE = re.compile(r"\$\{[\w:]*\}")
"""Where a parameter or a variable is filled in."""
STRUCK = "***"

ENDINGS = (
    "token", "secret", "password", "passwd", "passphrase", "passcode", "pwd", "jwt", "bearer", "credential",
    "credentials", "amzsignature", "googsignature", "authorization", "cookie", "apikey", "accesskey", "accountkey",
    "privatekey", "secretkey", "signingkey", "sharedkey", "sessionkey", "subscriptionkey", "encryptionkey", "authkey",
    "accesskeyid", "secretid", "sastoken", "connectionstring",
)  # fmt: skip
"""How the names of secrets end, in small letters and without what stands between words."""
WORDS = ("auth", "pass", "sas", "pw")
"""Names of secrets, alone or as the last of several words; but for the filters `high_pass`, `low_pass`, ..."""
FILTERS = re.compile(r"(?i)(high|low|band|all)[^a-z0-9]*pass")
HINTS = (
    "token", "secret", "pass", "pw", "jwt", "bearer", "credential", "signature", "auth", "cookie", "key", "sas",
    "connection",
)  # fmt: skip
"""One of these is in every name of a secret: most texts hold none, and need no closer look."""
IN_OPTIONS = ("key",)
"""Also those of secrets among options of a storage; elsewhere the word has other meanings."""
IN_QUERIES = (
    "key",
    "sig",
    "sign",
    "signature",
    "code",
    "hmac",
    "ticket",
    "session",
    "sid",
    "otp",
    "policy",
    "keypairid",
)
"""Also those of secrets in a URL."""
SAS = ("se", "sp", "sv", "sr", "st", "spr", "ss", "srt", "sip", "skoid", "sktid", "skt", "ske", "sks", "skv", "si")
"""What belongs to a `sig` in the URLs of Azure."""
IDENTITIES = re.compile(r"(?i)(.*[^a-z])?(id|uuid|hash|sha\d*|md5|digest|etag|checksum|version|versionid|v|rev|commit)")
"""Names of what is long and random and no secret: two URLs that differ in it lead to two things."""
HARMLESS = ("anon", "cloud", "browser", "cache", "google_default", "true", "false", "null", "none", "")
"""What may be said in place of a secret."""
LEAST, LONG = 4, 8
"""Characters of a value that is struck out wherever it stands, and of one in a query: shorter ones stand in words."""

USER = re.compile(r"(?<=://)[^\s/@\"'`]+(?=@)")
"""User and password of a URL."""
QUERY = re.compile(
    r"(?i)(?P<lead>[?&;#]|%3f|%26)(?P<name>[a-z0-9_.~$-]{1,64})(?P<sign>=|%3d)"
    r"(?P<value>(?:(?!%26)[^&;#\s\"'`<>|\\])+)"
)
PAIR = re.compile(
    r"(?i)(?<![a-z0-9_.-])(?P<name>[a-z][a-z0-9_.-]{0,63}+)[\"']?[ \t]*(?P<sign>[:=])[ \t]*"
    r"(?:[\"']?(?:bearer|basic|digest|token|negotiate)[ \t]+)?"
)
"""A name and the sign before its value, in YAML, JSON, on a command line, in a header."""
VALUE = re.compile(r"\$\{[\w:]*\}|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s,;&(){}\[\]\"'`<>|]+")
LINE_START = re.compile(r"(?:^|\n)[ \t]*(?:\d+ \| )?(?:- )?[\"']?\Z")
LINE = re.compile(r"\$\{[\w:]*\}|[^\s(){}\[\]\"'`<>|&*!#][^\n]*?(?=[ \t]+#|[ \t]*(?:\n|\Z))")
"""A value of YAML to the end of its line: it may be several words."""
SHAPES = re.compile(
    r"\b(?=[eAghxsyb])(?:eyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?|A(?:KIA|SIA)[A-Z0-9]{16}\b|AIza[\w-]{30,}"
    r"|gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}|hf_[A-Za-z0-9]{20,}"
    r"|sk-[\w-]{20,}|ya29\.[\w-]{16,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
"""Tokens that say themselves what they are."""

_revealed: dict[str, str] = {}
"""Every form of a value that this process has seen, and what to show in its place."""


def references(value: Any) -> set[str]:
    """The environment variables that a value refers to, at any depth."""
    if isinstance(value, str):
        return set(REFERENCE.findall(value))
    if isinstance(value, dict):
        return set().union(*(references(one) for one in value.values()))
    if isinstance(value, (list, tuple)):
        return set().union(*(references(one) for one in value))
    return set()


def reveal(value: T, *, options: bool = False) -> T:
    """The value with each ``${env:NAME}`` in it replaced by what the environment says; what is secret is noted.

    Parameters
    ----------
    value : any
        Parameters of a source, or a text.
    options : bool
        Whether they are a storage's options: see `conceal`.

    Raises
    ------
    Mismatch
        Where a variable is not set.
    """
    if not isinstance(value, str):  # there may be millions of URLs, and what is secret in one has its place there
        conceal(value, options=options)
    return _filled(value)


def _filled(value: T) -> T:
    filled: Any = value
    if isinstance(value, str):
        filled = REFERENCE.sub(_look_up, value)
    elif isinstance(value, dict):
        filled = {key: _filled(one) for key, one in value.items()}
    elif isinstance(value, (list, tuple)):
        filled = type(value)(_filled(one) for one in value)
    return filled  # type: ignore[no-any-return]


def _look_up(match: re.Match[str]) -> str:
    name = match[1]
    value = os.environ.get(name)
    if value is None:
        raise Mismatch(f"expected the environment variable `{name}` to be set", hint=f"export {name}=… first")
    _note(value, match[0])
    return value


def _note(value: str, shown: str) -> None:
    for form in {value, quote(value), quote(value, safe=""), quote_plus(value), repr(value)[1:-1]} - {""}:
        _revealed[form] = shown


def is_secret(name: object, also: tuple[str, ...] = ()) -> bool:
    """Whether a value of this name grants access: ``token``, ``aws_secret_access_key``, ``X-Amz-Signature``.

    Parameters
    ----------
    name : str
    also : tuple of str
        More names, `IN_OPTIONS` or `IN_QUERIES`.
    """
    if not isinstance(name, str) or FILTERS.fullmatch(name):
        return False
    words = re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().rstrip("0123456789_-"))
    plain = "".join(words)
    return plain.endswith(ENDINGS) or words[-1] in WORDS or plain in also


def conceal(value: Any, *, options: bool = False) -> None:
    """Note what is secret in a value, by the names at any depth, so that `redact` strikes it out wherever it stands.

    Parameters
    ----------
    value : any
        Parameters: mappings, lists, texts.
    options : bool
        Whether they are a storage's, among which a `key` is secret too.
    """
    if isinstance(value, Mapping):
        for name, one in value.items():
            if is_secret(name, IN_OPTIONS if options else ()):
                _conceal_all(one)
            else:
                conceal(one, options=options or str(name).endswith("options"))
    elif isinstance(value, (list, tuple)):
        for one in value:
            conceal(one, options=options)
    elif isinstance(value, str) and "://" in value:
        _conceal_url(value)


def _conceal_url(url: str) -> None:
    for found in QUERY.finditer(url):
        if _without_value(found, SAS) != found[0] and len(found["value"]) >= LONG:
            _note(found["value"], STRUCK)
    for user in USER.findall(url):
        if not _is_harmless(user):
            _conceal_all(user.split(":")[1:])


def _conceal_all(value: Any) -> None:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for one in value:
            _conceal_all(one)
    elif _strikable(value):
        text = str(value)
        for form in {text, *text.split(), *text.splitlines()}:
            if len(form) >= LEAST and form.lower() not in ("bearer", "basic", "digest", "token", "negotiate"):
                _note(form, STRUCK)


def _strikable(value: Any) -> bool:
    """Whether a value of a secret's name is one: no switch, no word for "none", no reference."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return False
    return str(value).lower() not in HARMLESS and HOLE.sub("", str(value)).strip(" :") not in ("", STRUCK)


def redacted(value: T, *, options: bool = False) -> T:
    """The value with every text in it redacted, at any depth; keys too.

    Parameters
    ----------
    value : any
        JSON values.
    options : bool
        Whether they are parameters: numbers of a secret's name are struck out as well as texts.
    """
    struck: Any = value
    if isinstance(value, str):
        struck = redact(value)
    elif isinstance(value, Mapping):
        struck = {redacted(name): _struck(name, one, options=options) for name, one in value.items()}
    elif isinstance(value, (list, tuple)):
        struck = type(value)(redacted(one, options=options) for one in value)
    return struck  # type: ignore[no-any-return]


def _struck(name: object, value: Any, *, options: bool) -> Any:
    options = options or str(name).endswith("options")
    if is_secret(name, IN_OPTIONS if options else ()) and (options or isinstance(value, str)) and _strikable(value):
        return STRUCK
    return redacted(value, options=options)


def redact(text: str) -> str:
    """The text without credentials.

    Every value that `reveal` has given out is replaced by its reference; what is secret by its name or its
    shape, in a URL, a header, YAML or JSON, and user and password of a URL by ``***``. References stay.
    """
    for form, shown in sorted(_revealed.copy().items(), key=lambda one: len(one[0]), reverse=True):
        text = text.replace(form, shown)
    text = USER.sub(_without_user, text)
    text = SHAPES.sub(STRUCK, text)
    if "=" in text or "%3" in text:
        signed = re.search(r"(?i)(?:[?&;]|%3f|%26)sig(?:=|%3d)", text) is not None
        text = QUERY.sub(lambda found: _without_value(found, SAS if signed else ()), text)
    return _without_pairs(text)


def _without_user(found: re.Match[str]) -> str:
    return found[0] if _is_harmless(found[0]) else STRUCK


def _is_harmless(user: str) -> bool:
    """Whether what stands before the host is but a reference: a name before one is as harmless."""
    name, colon, word = user.partition(":")
    return not HOLE.sub("", word if colon else name)


def _without_value(found: re.Match[str], also: tuple[str, ...]) -> str:
    name, value = found["name"], found["value"]
    secret = is_secret(name, IN_QUERIES + also) or (_is_random(value) and not IDENTITIES.fullmatch(name))
    return f"{found['lead']}{name}{found['sign']}{STRUCK}" if secret and HOLE.sub("", value) else found[0]


def _is_random(value: str) -> bool:
    """Whether a text looks drawn: a stretch of letters and digits that takes turns among them."""
    for stretch in re.findall(r"[A-Za-z0-9]{20,}", value):
        kinds = ["0" if one.isdigit() else "a" if one.islower() else "A" for one in stretch]
        if sum(a != b for a, b in pairwise(kinds)) >= len(stretch) // 4:
            return True
    return False


def _without_pairs(text: str) -> str:
    small = text.lower()
    if not any(hint in small for hint in HINTS):
        return text
    pieces, done = [], 0
    for found in PAIR.finditer(text):
        if found.start() < done or not is_secret(found["name"]):
            continue
        starts = found[0].rstrip().endswith(":") and LINE_START.search(text, max(0, found.start() - 40), found.start())
        value = (LINE if starts else VALUE).match(text, found.end()) or VALUE.match(text, found.end())
        if value is None or not _strikable(value[0].strip("\"'")):
            continue
        # YAML takes a bare asterisk for something else.
        bare = "'" if found[0].rstrip().endswith(":") else ""
        mark = value[0][0] if value[0][0] in "\"'" else bare
        pieces += [text[done : found.end()], mark, STRUCK, mark]
        done = value.end()
    return "".join([*pieces, text[done:]])
