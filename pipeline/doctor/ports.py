"""Ports of this machine that the project's own servers listen on."""

import re
import socket
from dataclasses import dataclass

import psutil

from pipeline.doctor.finding import CheckResult, ok, problem


@dataclass(frozen=True)
class Port:
    number: int
    what: str
    users: str
    """Words of which the command line of a rightful listener has one."""
    remedy: str


PORTS = (
    Port(5000, "MLflow's UI", "mlflow", "end that, or `espalier ui --port 5001`"),
    Port(
        8265,
        "Ray's dashboard",
        "ray|ssh|kubectl",
        "end that, or give `espalier submit --address` another one",
    ),
)


def port(wanted: Port) -> CheckResult:
    if _is_free(wanted.number):
        return ok(f"{wanted.number} is free for {wanted.what}")
    process = _listener(wanted.number)
    if process is None:
        return problem(
            f"{wanted.number}, for {wanted.what}, is used by a process of another user; {wanted.remedy}"
        )
    who = f"{process.name()} (pid {process.pid})"
    if re.search(rf"\b({wanted.users})\b", " ".join(process.cmdline())):
        return ok(f"{wanted.number}, for {wanted.what}, is used by {who}")
    return problem(f"{wanted.number}, for {wanted.what}, is used by {who}; {wanted.remedy}")


def _is_free(number: int) -> bool:
    with socket.socket() as probe:
        # Else a connection that just closed counts as a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
        return True


def _listener(number: int) -> psutil.Process | None:
    """None if this system does not tell."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == number and connection.pid:
                return psutil.Process(connection.pid)
    except psutil.Error:
        pass
    return None
