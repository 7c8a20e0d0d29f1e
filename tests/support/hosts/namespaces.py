"""Linux namespaces that live as long as one process does, and commands inside them.

Nothing here has a name on the machine: no entry in /run/netns, no interface beside the machine's own, no
mount that another process sees. The kernel removes all of it with the last process, so a run that was killed
leaves nothing.
"""

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, Signals
from typing import IO

import psutil

from tests.support.project import until

KINDS = ("net", "mount", "pid", "ipc", "uts")
TOOLS = ("unshare", "nsenter", "setsid", "env", "cat", "tee", "mount", "hostname", "ip")
CLONE_NEWNET = 0x40000000
END_TIMEOUT_S = 30.0
STILL = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def unsupported() -> str | None:
    """Why no host can be made on this machine, or None."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    bridge = ["unshare", "--net", "ip", "link", "add", "name", "br0", "type", "bridge"]
    tried = subprocess.run(bridge, capture_output=True, check=False)
    return f"no bridge in a network namespace: {tried.stderr.decode().strip()}" if tried.returncode else None


@dataclass
class Entered:
    """A command inside namespaces.

    Its parent is `entrance`, a process that stands in the namespaces of network and mounts, but not in that
    of processes; it ends with the command, with its exit status, or with the number of the signal that killed
    it.
    """

    entrance: "subprocess.Popen[bytes]"
    command: Sequence[str]

    def poll(self) -> int | None:
        return self.entrance.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired; the command then still runs."""
        return self.entrance.wait(timeout_s)

    def members(self) -> list[psutil.Process]:
        """The command and all that descends from it, parents first; whose parent is gone is not
        among them.
        """
        try:
            return list(psutil.Process(self.entrance.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def signal(self, number: Signals) -> None:
        """Send a signal to the command itself."""
        self.members()[0].send_signal(number)

    def pause(self) -> None:
        """The command and its descendants do nothing more, but their connections stay open."""
        until(self._stands_still, f"{self.command} stands still", END_TIMEOUT_S)

    def resume(self) -> None:
        self._signal_all(SIGCONT)

    def kill(self) -> None:
        """Kill the command and its descendants, and wait for their end."""
        while self.members():
            self._signal_all(SIGKILL)
        self.wait(END_TIMEOUT_S)

    def _stands_still(self) -> bool:
        self._signal_all(SIGSTOP)
        return all(_status(member) in STILL for member in self.members())

    def _signal_all(self, number: Signals) -> None:
        for member in self.members():
            with suppress(psutil.NoSuchProcess):
                member.send_signal(number)


class Namespaces:
    """Network, mounts, processes, IPC and host name of their own, kept by a process that is their init.

    The init is `cat`: it ends when its standard input does, also because the process that holds the other end
    was killed; with it the kernel kills every process of the namespaces. Ended children are reaped, as
    SIGCHLD is ignored.
    """

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            [
                *("unshare", *(f"--{kind}" for kind in KINDS), "--mount-proc", "--fork", "--kill-child"),
                *("env", "--ignore-signal=CHLD", "cat"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for the tests, which end this in their own order
        )
        self._entered: list[Entered] = []
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        with suppress(BrokenPipeError):  # what went wrong is told below
            self._keeper.stdin.write(b"up\n")
            self._keeper.stdin.flush()
        if self._keeper.stdout.readline() != b"up\n":
            self.kill()
            raise OSError("unshare could not make the namespaces; its message stands above")
        self._init: int = psutil.Process(self._keeper.pid).children()[0].pid

    @property
    def pid(self) -> int:
        """Of the init.

        Raises ProcessLookupError after its end: the number may be that of another process by now.
        """
        if self._keeper.poll() is not None:
            raise ProcessLookupError("this host was killed")
        return self._init

    def enter(
        self,
        command: Sequence[str],
        *,
        stdin: IO[bytes] | int,
        stdout: IO[bytes] | int,
        stderr: IO[bytes] | int,
        environment: dict[str, str],
    ) -> Entered:
        """Start a command in the namespaces, in a session of its own."""
        entrance = subprocess.Popen(
            [
                *("nsenter", f"--target={self.pid}", *(f"--{kind}" for kind in KINDS)),
                # nsenter would stop itself whenever the command is stopped, and then outlive it: setsid only
                # waits.
                *("--no-fork", "setsid", "--fork", "--wait"),
                *command,
            ],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )
        entered = Entered(entrance, command)
        self._entered.append(entered)
        until(lambda: entered.members() or entered.poll() is not None, f"{command} starts", END_TIMEOUT_S)
        return entered

    def call(self, *command: str, stdin: bytes = b"") -> None:
        """Run a short command of the system in the namespaces of network, mounts and host name alone.

        Raises OSError with what it said.
        """
        entrance = ["nsenter", f"--target={self.pid}", "--net", "--mount", "--uts"]
        done = subprocess.run([*entrance, *command], input=stdin, capture_output=True, check=False)
        if done.returncode:
            raise OSError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")

    def path(self, inside: str | Path) -> Path:
        """A file of these namespaces as the tests see it.

        Absolute links in it lead to the tests' own files.
        """
        return Path(f"/proc/{self.pid}/root") / Path(inside).relative_to("/")

    def tcp_socket(self) -> socket.socket:
        """A TCP socket that belongs to this network for its whole life, wherever it is used; it keeps the
        network alive.
        """
        with ThreadPoolExecutor(
            1
        ) as thread:  # which ends here: a thread that has changed its network is of no other use
            return thread.submit(_socket_of, self.pid).result()

    def processes(self) -> list[psutil.Process]:
        """All that live in the namespace of processes but its init, whoever started them and whoever is their
        parent.
        """
        if not self.alive():
            return []
        space = _process_space(self.pid)
        return [
            process
            for process in psutil.process_iter()
            if process.pid != self.pid and _process_space(process.pid) == space
        ]

    def alive(self) -> bool:
        return self._keeper.poll() is None

    def kill(self) -> None:
        """SIGKILL to every process at once, and wait until the kernel has removed them. May be repeated."""
        # Closes its standard input: the init ends, and takes all along.
        self._keeper.communicate(timeout=END_TIMEOUT_S)
        for entered in self._entered:
            entered.wait(END_TIMEOUT_S)


def _socket_of(pid: int) -> socket.socket:
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{pid}/ns/net").open("rb") as network:
        if libc.setns(network.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    return socket.socket()


def _status(process: psutil.Process) -> str:
    try:
        status: str = process.status()
    except psutil.NoSuchProcess:
        status = psutil.STATUS_DEAD
    return status


def _process_space(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None
