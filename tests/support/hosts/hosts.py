"""A host of a network (network.py): commands, files, processes, its cable, its end."""

import http.client
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tests.support.hosts.disk import HOME
from tests.support.hosts.namespaces import Entered, Namespaces
from tests.support.project import Done

BRIDGE = "br0"
INTERFACE = "eth0"
RUN_TIMEOUT_S = 60.0
HTTP_TIMEOUT_S = 10.0
TAIL_CHARACTERS = 4000


class CommandError(Exception):
    """A command in a host ended with another status than 0; the message holds its output."""


class Process(Entered):
    """A command in a host that may be running; `log` holds its output.

    A pipe would stay open in what it leaves behind.
    """

    def __init__(self, entered: Entered, log: Path) -> None:
        super().__init__(entered.entrance, entered.command)
        self.log = log

    def tail(self) -> str:
        """The end of the log, for a message."""
        return self.log.read_text(errors="replace")[-TAIL_CHARACTERS:]


class Host:
    """A machine.

    Its commands see `environment` and what a call adds, and nothing of the tests' own environment.
    """

    def __init__(self, name: str, ip: str, switch: Namespaces, logs: Path) -> None:
        self.name = name
        self.ip = ip
        self.space = Namespaces()
        self.environment = {
            "PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]]),
            "HOME": str(HOME),
            "LANG": "C.UTF-8",
        }
        self._switch = switch
        self._port = f"port-{ip.rpartition('.')[2]}"
        self._logs = logs
        self._started = 0

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        cwd: str = "/",
        log: Path | None = None,
        errors: Path | None = None,
    ) -> Process:
        """Start a command.

        Without `errors` its standard error goes to `log` too; without `log` to a new file.
        """
        self._started += 1
        log = log or self._logs / f"{self.name}-{self._started}-{Path(command[0]).name}.log"
        with log.open("wb") as out, (errors or log).open("ab") as err:
            entered = self.space.enter(
                ["env", f"--chdir={cwd}", *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                environment={**self.environment, **(environment or {})},
            )
        return Process(entered, log)

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        cwd: str = "/",
        timeout_s: float = RUN_TIMEOUT_S,
        check: bool = True,
    ) -> Done:
        """Run a command to its end.

        Raises CommandError with its output where it fails (unless `check` is False) or takes too long; then
        it is killed.
        """
        errors = self._logs / f"{self.name}-{self._started + 1}.err"
        process = self.start(command, environment, cwd=cwd, errors=errors)
        try:
            status: int | None = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            status = None
        done = Done(status or 0, process.log.read_text(errors="replace"), errors.read_text(errors="replace"))
        if status is None or (check and status != 0):
            said = f"took more than {timeout_s:g} s" if status is None else f"ended with status {status}"
            raise CommandError(f"{self.name}: {' '.join(command)}: {said}\n{done.out}{done.err}")
        return done

    def path(self, inside: str | Path) -> Path:
        """A file of this host as the tests see it, to read or write; gone with the host."""
        return self.space.path(inside)

    def bring(self, folder: Path, inside: str) -> None:
        """Copy a folder of this machine to the host, links as links."""
        shutil.copytree(folder, self.path(inside), symlinks=True)

    def processes(self) -> list[psutil.Process]:
        """Everything that runs on this host."""
        return self.space.processes()

    def get(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        timeout_s: float = HTTP_TIMEOUT_S,
    ) -> tuple[int, bytes]:
        """Status and body of an HTTP request from this host. Raises OSError or http.client.HTTPException."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port)
        with self.space.tcp_socket() as link:
            link.settimeout(timeout_s)
            link.connect((parts.hostname, parts.port))
            connection.sock = link
            connection.request(
                method, parts._replace(scheme="", netloc="").geturl() or "/", headers=dict(headers or {})
            )
            response = connection.getresponse()
            body = response.read()
            connection.close()
        return response.status, body

    def link_down(self) -> None:
        """Pull the cable: what is sent is lost, connections stay open and hear nothing, as with a cut between
        real hosts.
        """
        self._switch.call("ip", "link", "set", self._port, "down")

    def link_up(self) -> None:
        self._switch.call("ip", "link", "set", self._port, "up")

    def kill(self) -> None:
        """SIGKILL of every process at once, and the end of this host.

        Its peers are told: their connections close.
        """
        self.space.kill()

    def power_off(self) -> None:
        """The same after the cable is pulled: nobody is told, peers must notice the silence, as after a power
        loss.
        """
        self.link_down()
        self.kill()

    def connect(self, gateway: str) -> None:
        """Lay the cable to the bridge of the switch and give it this host's address."""
        self._switch.call(
            *("ip", "link", "add", "name", self._port, "type", "veth"),
            *("peer", "name", INTERFACE, "netns", str(self.space.pid)),
        )
        self._switch.call("ip", "link", "set", self._port, "master", BRIDGE, "up")
        self.space.call("hostname", self.name)
        self.space.call("ip", "link", "set", "lo", "up")
        self.space.call("ip", "address", "add", f"{self.ip}/24", "dev", INTERFACE)
        self.space.call("ip", "link", "set", INTERFACE, "up")
        self.space.call("ip", "route", "add", "default", "via", gateway)
