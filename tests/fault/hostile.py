"""Checks mutated flows in a process that notes whatever a flow must never cause.

Run as ``hostile.py SEED NUMBER FLOW...``; prints one JSON document.
"""

import json
import random
import re
import sys
import time
from pathlib import Path

from hpcflow.errors import FlowError
from hpcflow.registry import KINDS, function, names
from hpcflow.spec.validate import loads

TEXTS = [
    "!!python/object/apply:os.system ['touch canary']",
    "!!python/name:os.system",
    "!!python/object/new:subprocess.Popen [[touch, canary]]",
    "!canary {a: 1}",
    "&a [*a]",
    "*unknown",
    "{<<: {a: 1}}",
    "os.system",
    "hpcflow.cli:main",
    "../../../../tmp/canary",
    "/proc/self/mem",
    "file:///etc/passwd",
    "file://../canary",
    "${env:HOME}",
    "${${plane}}",
    "${__class__}",
    "1e999",
    "9" * 400,
    "-" + "9" * 30,
    "0x" + "f" * 300,
    ".nan",
    "[" * 200,
    "{a: " * 200,
    "'" * 3,
    "|" + "\n   x" * 500,
    "\u202e\u0000\ufeff",
    "1_000:30:30",
    "[[[[[[[[[[]]]]]]]]]]",
    "2001-01-01",
    "~",
]
EXPRESSIONS = [
    "().__class__.__bases__[0].__subclasses__()",
    "__import__('os').system('touch canary')",
    "x.__class__",
    "x[0]",
    "(lambda: x)()",
    "[y for y in x]",
    "9**9**9**9",
    "x" + "+x" * 3000,
    "(" * 300 + "x" + ")" * 300,
    "open('canary', 'w')",
    "x if x else x",
    "f'{x}'",
    "x := 1",
    "exec('1')",
    "sqrt.__globals__",
    "1" * 5000,
]
FORBIDDEN = re.compile(
    r"subprocess|os\.(system|exec|fork|forkpty|posix_spawn|spawn|mkdir|rename|remove|rmdir|link|symlink|truncate|chmod)"
    r"|pty|socket\.(connect|bind)|shutil|pickle"
)
seen = []
watching = False


def hook(event, args):
    """Note what a flow must not cause."""
    if not watching:
        return
    if event == "open":
        mode, flags = args[1], args[2]
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (mode is None and flags & 0o3):
            seen.append((event, str(args[0])))
    elif FORBIDDEN.match(event):
        seen.append((event, str(args)[:200]))


def mutated(text, rng):
    """One flow with a few things in it that do not belong there."""
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        kind, at = rng.randrange(8), rng.randrange(len(lines))
        name = re.match(r"( *[\w-]+:)", lines[at])
        if kind == 0 and name:
            lines[at] = f"{name[1]} {rng.choice(TEXTS)}"
        elif kind == 1:
            lines[at] = re.sub(r": ([\w./${}]+)", lambda _: ": " + rng.choice(TEXTS), lines[at], count=1)
        elif kind == 2:
            lines[at] = re.sub(r'expr: "[^"]*"', lambda _: f'expr: "{rng.choice(EXPRESSIONS)}"', lines[at])
        elif kind == 3:
            lines.insert(at, f'  evil: {{op: expr, expr: "{rng.choice(EXPRESSIONS)}"}}')
        elif kind == 4:
            lines.insert(rng.randrange(len(lines)), lines[at])
        elif kind == 5:
            del lines[at]
            lines = lines or [""]
        elif kind == 6:
            characters = list(lines[at])
            for _ in range(rng.randint(1, 4)):
                characters.insert(
                    rng.randrange(len(characters) + 1), rng.choice("{}[]:,&*!|>'\"%@`#-?\t\x00é\U0001f600")
                )
            lines[at] = "".join(characters)
        else:
            lines[at] = re.sub(r"\w+", lambda m: rng.choice([m[0], m[0][::-1], "__class__", "a" * 5000]), lines[at])
    return "\n".join(lines)


def main(seed, number, files):
    """Check them all; what happened."""
    global watching  # noqa: PLW0603  (the hook can never be taken off again)
    rng = random.Random(seed)
    texts = [Path(file).read_text() for file in files]
    for kind in KINDS:  # an op's own module may well open what it needs
        for name in names(kind):
            function(kind, name)
    for text in texts:
        _check(text)
    sys.addaudithook(hook)
    slowest, wrong, valid = 0.0, [], 0
    for i in range(number):
        text = mutated(rng.choice(texts), rng)
        watching = True
        begun = time.process_time()
        try:
            valid += _check(text)
        except BaseException as error:  # noqa: BLE001  (whatever it is, it is wrong)
            wrong.append((i, f"{type(error).__name__}: {error}"[:300], text[:2000]))
        took = time.process_time() - begun
        watching = False
        slowest = max(slowest, took)
    print(json.dumps({"flows": number, "valid": valid, "tracebacks": wrong, "caused": seen, "slowest_s": slowest}))


def _check(text):
    try:
        loads(text, missing_ok=True)
    except FlowError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
