"""Servers for a test: started in a session of their own, of which nothing is left afterwards."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

BIN = Path(sys.executable).parent
STOP_S = 10.0
POLL_S = 0.2


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[None]:
    """Run a server in this folder for the time of the block; what it says goes to a log there."""
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        server = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        server.terminate()
        try:
            server.wait(STOP_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)  # a worker whose parent forgot it
            server.wait(STOP_S)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def until(holds: Callable[[], bool], seconds: float, what: str | Path) -> None:
    """Wait until it holds. Raises TimeoutError that says what did not, or what the log says."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"after {seconds:g} s: {what if isinstance(what, str) else what.read_text(errors='replace')}"
            )
        time.sleep(POLL_S)


def status(
    url: str, headers: Mapping[str, str] | None = None, method: str = "GET", body: bytes | None = None
) -> int:
    """The HTTP status that this request gets; 0 where nobody answers."""
    request = urllib.request.Request(url, headers=dict(headers or {}), method=method, data=body)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            code: int = answer.status
            return code
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0
