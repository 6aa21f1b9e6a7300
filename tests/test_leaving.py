import os
import subprocess
import sys
import threading

import pytest

from hpcflow import leaving

NESTED = """\
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"])
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize("find", [leaving.started, leaving._known_to_psutil])
def test_what_was_started_is_found_whichever_thread_did_it(find):
    processes = []

    def start():
        command = [sys.executable, "-c", NESTED]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        ended.wait()

    ended = threading.Event()
    thread = threading.Thread(target=start)
    thread.start()
    while not processes:
        pass
    with processes[0] as child:
        grandchild = int(child.stdout.readline())
        try:
            assert {child.pid, grandchild} <= set(find(os.getpid()))
            assert find(child.pid) == [grandchild]
            assert find(grandchild) == []
        finally:
            child.stdin.close()
            child.wait(timeout=30)
            ended.set()
            thread.join()
    assert child.pid not in find(os.getpid())
    assert find(grandchild) == []
