"""A Ray cluster, its job server, and the token with which one is let in."""

import os
import socket
import stat
from pathlib import Path

from pipeline.doctor.finding import CheckResult, check_result, ok, one_line, problem, skipped
from pipeline.job_server import JobServer
from pipeline.launch.resources import is_job_server

RAY_TIMEOUT_S = 5.0
HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""Preface and empty settings (RFC 9113, 3.4), which every gRPC server answers with settings of its own."""
SETTINGS_FRAME = 4
AUTH_MODES = ("token", "disabled")


def ray_cluster(address: str | None, timeout_s: float = RAY_TIMEOUT_S) -> CheckResult:
    """Raises UnreachableError, SubmitError."""
    if not address:
        return skipped("neither RAY_ADDRESS nor resources.address is set; training starts a Ray of its own")
    if address == "auto":
        return skipped("RAY_ADDRESS is auto, so Ray looks for one when training starts")
    if is_job_server(address):
        return job_server(address, timeout_s)
    host, _, number = address.rpartition(":")
    if "://" in address or not host or not number.isdecimal():
        return problem(
            f"{address} is no host:port, as `ray start --head` prints it; correct RAY_ADDRESS or "
            "resources.address"
        )
    if fault := _connection_fault(host, int(number), timeout_s):
        remedy = "start one, or unset RAY_ADDRESS and set resources.address to null for a local one"
        return problem(f"no Ray cluster answers at {address} ({fault}); {remedy}")
    return ok(f"answers at {address}")


def job_server(address: str | None, timeout_s: float = RAY_TIMEOUT_S) -> CheckResult:
    """Raises UnreachableError, SubmitError."""
    if not address:
        return skipped("RAY_API_SERVER_ADDRESS is not set")
    server = JobServer(address, timeout_s=timeout_s)
    server.check()
    return ok(f"{server.address} takes the token and has the same Ray")


def ray_token(*, uses_cluster: bool) -> CheckResult:
    """RAY_AUTH_MODE, and that nobody else can read the token."""
    mode, path = os.environ.get("RAY_AUTH_MODE"), os.environ.get("RAY_AUTH_TOKEN_PATH")
    if mode is not None and mode.lower() not in AUTH_MODES:
        return problem(f"RAY_AUTH_MODE is {mode!r}; set it to token")
    is_asked = (mode or "").lower() == "token"
    if uses_cluster and not is_asked:
        return problem(
            "RAY_AUTH_MODE is not token, so whoever reaches the cluster can run code there; set it here and "
            "on its nodes"
        )
    if mode is not None and not is_asked:
        return problem(
            "RAY_AUTH_MODE is disabled, so other users of this machine can run code as you in a local Ray; "
            "unset it"
        )
    if os.environ.get("RAY_AUTH_TOKEN"):
        return ok("is in RAY_AUTH_TOKEN")
    if not path and not uses_cluster:
        return skipped("no cluster is named; a local Ray makes a token of its own")
    return _token_file(Path(path) if path else Path.home() / ".ray" / "auth_token")


def _connection_fault(host: str, port: int, timeout_s: float) -> str | None:
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            # Which would need our certificate to be talked to.
            has_tls = os.environ.get("RAY_USE_TLS", "0") != "0"
            return None if has_tls or _speaks_grpc(connection) else "something else listens there"
    except TimeoutError:
        return f"nothing is heard within {timeout_s:g} s"
    except (OSError, OverflowError) as error:
        return one_line(error)


def _speaks_grpc(connection: socket.socket) -> bool:
    connection.sendall(HTTP2_HELLO)
    answer = b""
    while len(answer) < 4 and (part := connection.recv(9)):
        answer += part
    return len(answer) >= 4 and answer[3] == SETTINGS_FRAME


def _token_file(path: Path) -> CheckResult:
    try:
        status = path.stat()
        is_empty = not path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        return problem(
            f"{path} cannot be read ({error.strerror}); put the cluster's token there, or set "
            "RAY_AUTH_TOKEN_PATH"
        )
    problems = []
    if is_empty:
        problems.append(f"{path} is empty; put the cluster's token there")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        problems.append(
            f"{path} has mode {stat.S_IMODE(status.st_mode):04o}, so others may read the token; `chmod 600 "
            f"{path}`"
        )
    if status.st_uid != os.getuid():
        problems.append(f"{path} belongs to another user; make a copy of your own, of mode 0600")
    return check_result(problems, f"{path}, which only you may read")
