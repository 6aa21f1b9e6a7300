"""A Slurm of one node and an SSH server, on loopback, from Debian's packages; they end with the test."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]


class CannotStart(RuntimeError):
    """Says why a server does not run here."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def expect(*programs):
    """The paths of programs, among those of the system's administrator too."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    found = [shutil.which(program, path=path) for program in programs]
    if None in found:
        raise CannotStart(f"{programs[found.index(None)]} is not installed")
    return found


@contextmanager
def running(command, log, **options):
    """A server in the foreground, which is ended in the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(there, process, log, seconds=20.0):
    """Wait until a server answers; it may end before it does."""
    deadline = time.monotonic() + seconds
    while not there():
        if process.poll() is not None or time.monotonic() > deadline:
            raise CannotStart(f"{process.args[0]}: {log.read_text(errors='replace')[-800:]}")
        time.sleep(0.1)


def answers(port):
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextmanager
def ssh_server(folder):
    """An sshd with a key of its own; yields what asyncssh needs to connect."""
    sshd, keygen = expect("sshd", "ssh-keygen")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "client"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/client.pub\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nSetEnv PYTHONPATH={ROOT}\n"
    )
    log = folder / "sshd.log"
    with running([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], log) as process:
        until(lambda: answers(port), process, log)
        known = folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
        yield {
            "port": port,
            "username": getpass.getuser(),
            "client_keys": [str(folder / "client")],
            "known_hosts": str(known),
        }


SLURM = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
SchedulerParameters=bf_interval=2,sched_interval=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=16000 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def slurm_server(folder):
    """munged, slurmctld and slurmd; yields the environment in which `sbatch` finds them."""
    munged, controller, node, sinfo, setpriv = expect("munged", "slurmctld", "slurmd", "sinfo", "setpriv")
    if os.geteuid() != 0:
        raise CannotStart("slurmd runs as root only")
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for path in (folder / "munge", key):
        shutil.chown(path, "munge", "munge")
    # Every folder above the socket must let munge's user through.
    for parent in folder.parents:
        if parent != Path("/") and parent.stat().st_mode & 0o5 != 0o5:
            parent.chmod(parent.stat().st_mode | 0o5)
    folder.chmod(0o755)
    settings = folder / "slurm.conf"
    ports = {"controller": free_port(), "node": free_port()}
    settings.write_text(SLURM.format(host=socket.gethostname(), folder=folder, **ports))
    environment = {**os.environ, "SLURM_CONF": str(settings)}
    with ExitStack() as stack:

        def start(name, command, there):
            log = folder / f"{name}.log"
            process = stack.enter_context(running(command, log, env=environment))
            until(there, process, log)

        files = [f"--{name}-file={folder}/munge/{name}" for name in ("key", "pid", "log", "seed")]
        as_munge = [setpriv, "--reuid=munge", "--regid=munge", "--clear-groups"]
        socket_file = folder / "munge" / "socket"
        start("munged", [*as_munge, munged, "-F", "--force", f"--socket={socket_file}", *files], socket_file.exists)
        start("slurmctld", [controller, "-D", "-c", "-f", str(settings)], lambda: answers(ports["controller"]))

        def idle():
            asked = subprocess.run(
                [sinfo, "--noheader", "--format=%T"], env=environment, capture_output=True, text=True, check=False
            )
            return asked.stdout.strip() == "idle"

        start("slurmd", [node, "-D", "-f", str(settings)], idle)
        yield environment
