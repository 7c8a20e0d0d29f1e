"""Hosts that share nothing but a network, on one machine: own addresses, processes, host names and disks.

    with Network(logs) as network:
        first, second = network.add_host("first"), network.add_host("second")
        first.run(["python", "-c", "..."])

A host is Linux namespaces (namespaces.py) with a disk in memory (disk.py), joined by a cable to a switch,
which is a bridge in namespaces of its own. Nothing of the machine's own network, mounts or temporary folders
is touched.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.support.hosts.disk import separate
from tests.support.hosts.hosts import BRIDGE, Host
from tests.support.hosts.namespaces import Namespaces

SUBNET = "10.77.0"
SWITCH_IP = f"{SUBNET}.254"


class Network:
    """A switch and the hosts at it. Use it as a context, which ends all of them, also after a failure."""

    def __init__(self, logs: Path) -> None:
        """logs: a folder for the output of the hosts' commands; it stays."""
        self.marker = f"espalier-{os.urandom(4).hex()}"
        self.hosts: list[Host] = []
        self._logs = logs
        self._switch = Namespaces()
        try:
            self._set_up_switch()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_host(self, name: str, visible: Sequence[Path] = ()) -> Host:
        """Start a host. Of this machine's project and temporary folders it sees only `visible`, read-only."""
        host = Host(name, f"{SUBNET}.{len(self.hosts) + 1}", self._switch, self._logs)
        self.hosts.append(host)
        separate(host.space, self.marker, visible, {"hosts": "", "resolv.conf": f"nameserver {SWITCH_IP}\n"})
        host.connect(SWITCH_IP)
        names = "".join(f"{other.ip} {other.name}\n" for other in self.hosts)
        for other in self.hosts:
            if other.space.alive():
                other.path("/run/hosts").write_text(f"127.0.0.1 localhost\n{names}")
        return host

    def close(self) -> None:
        """End every host and the switch, whatever fails on the way. May be repeated."""
        with ExitStack() as ends:
            ends.callback(self._switch.kill)
            for host in self.hosts:
                ends.callback(host.kill)

    def _set_up_switch(self) -> None:
        # By which `remains` finds the switch too.
        self._switch.call("mount", "-t", "tmpfs", self.marker, "/run")
        self._switch.call("ip", "link", "add", "name", BRIDGE, "type", "bridge")
        self._switch.call("ip", "address", "add", f"{SWITCH_IP}/24", "dev", BRIDGE)
        self._switch.call("ip", "link", "set", BRIDGE, "up")
        # Hosts have a way to the rest of the world, as real ones do, and hear at once that it leads nowhere.
        self._switch.call("tee", "/proc/sys/net/ipv4/ip_forward", stdin=b"1")
        self._switch.call("ip", "route", "add", "unreachable", "default")


def remains(marker: str) -> list[str]:
    """What still runs on the hosts of a network, or holds their mounts; without it the kernel keeps no
    namespace either.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if marker in Path(f"/proc/{process.pid}/mountinfo").read_text():
                found.append(str(process))
        except OSError:
            continue
    return found
