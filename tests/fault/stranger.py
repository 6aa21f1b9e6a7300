"""Another user of the machine, who tries everything at the addresses given: `stranger.py CANARY ADDRESS…`.

Prints as JSON what was answered at each address, by door. What is sent makes the file CANARY,
where it is run or unpickled.
"""

import asyncio
import json
import os
import socket
import ssl
import sys
from functools import partial

from distributed import Security
from distributed.comm import connect
from distributed.comm.addressing import parse_address
from distributed.protocol import to_serialize
from distributed.protocol.pickle import dumps

NOBODY = 65534
PATIENCE = 5


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def messages(canary):
    """What runs code, or would be unpickled, at a scheduler, a worker or a nanny."""
    run = {"function": dumps(os.mkdir), "args": dumps((canary,)), "kwargs": dumps({}), "reply": True}
    yield "identity", {"op": "identity", "reply": True}
    yield "run", {"op": "run", **run}
    yield "run_function", {"op": "run_function", **run, "wait": True}
    yield "pickle", {"op": "identity", "x": to_serialize(Bomb(canary)), "reply": True}
    yield "plugin", {"op": "plugin_add", "plugin": dumps(Bomb(canary)), "name": "x", "reply": True}


async def speak(address, arguments, message):
    """Whatever Dask's own protocol gets as an answer."""
    comm = await connect(address, timeout=PATIENCE, **arguments)
    try:
        await comm.write(message)
        return str(await asyncio.wait_for(comm.read(), PATIENCE))
    finally:
        comm.abort()


def bare(place, text, *, encrypted):
    """What a socket gets as an answer, without a certificate."""
    with socket.create_connection(place, PATIENCE) as plain:
        spoken = plain
        if encrypted:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            spoken = context.wrap_socket(plain)
        spoken.sendall(text)
        return spoken.recv(1000).decode(errors="replace")


def tried(act):
    """What an attempt gave; `None` where it was refused."""
    try:
        return act() or None
    except (OSError, ValueError):
        return None


def attack(place, canary):
    """Every door at one place: host and port."""
    host = "{}:{}".format(*place)
    other = Security.temporary()
    arguments = other.get_connection_args("client")
    arguments["require_encryption"] = False
    for name, message in messages(canary):
        for scheme in ("tcp", "tls"):
            yield (
                f"{scheme} {name}",
                tried(lambda m=message, s=scheme: asyncio.run(speak(f"{s}://{host}", arguments, m))),
            )
    for encrypted in (False, True):
        get = partial(bare, place, b"GET / HTTP/1.0\r\n\r\n", encrypted=encrypted)
        yield f"http{'s' * encrypted}", tried(get)


def main(canary, *addresses):
    """Be someone else, where this process may choose, and try."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    answered = {}
    for address in addresses:
        place = parse_address(address)[1].rsplit(":", 1)
        answered[address] = {door: got for door, got in attack((place[0], int(place[1])), canary) if got}
    print(json.dumps(answered))


if __name__ == "__main__":
    main(*sys.argv[1:])
