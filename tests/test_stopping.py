"""A signal stops a command wherever its main thread happens to be."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc, os, signal, time
from hpcflow import stopping

class Slow:
    def __del__(self):
        os.kill(os.getpid(), signal.{number})
        time.sleep(0.05)

def callback(phase, info):
    if phase == "start":
        os.kill(os.getpid(), signal.{number})
        time.sleep(0.05)

def collect():
    gc.callbacks.append(callback)
    gc.collect()
    gc.callbacks.remove(callback)

stopping.listen()
try:
    {where}
    time.sleep(30)
finally:
    print("in order")
"""


@pytest.mark.parametrize("where", ["os.kill(os.getpid(), signal.{number})", "Slow()", "collect()"])
@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_is_not_lost(where, number, code):
    script = SCRIPT.format(where=where.format(number=number), number=number)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "in order\n", "")
