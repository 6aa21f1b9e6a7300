"""Bounds on time that hold on any machine, beside anything."""

import contextlib
import gc
import time
from collections.abc import Iterator


@contextlib.contextmanager
def cpu_within(seconds: float) -> Iterator[None]:
    """Fail where what is inside takes this thread longer on a core.

    Other processes and threads do not count, and neither does what earlier tests left: without the freeze, the
    collector's walk over a long session's objects takes seconds.
    """
    gc.collect()
    gc.freeze()
    start = time.thread_time()
    try:
        yield
        spent = time.thread_time() - start
    finally:
        gc.unfreeze()
    assert spent < seconds
