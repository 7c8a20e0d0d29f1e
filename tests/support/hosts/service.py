"""A server on a host that may be stopped, stalled and started again."""

import http.client
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.hosts.hosts import Host, Process

READY_TIMEOUT_S = 90.0
POLL_S = 0.05


class Service(ABC):
    """A server that may be stopped, stalled and started again."""

    def __init__(self, host: Host, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.host = host
        self.process: Process | None = None
        self._command = command
        self._environment = environment

    @abstractmethod
    def answers(self) -> bool:
        """Whether it does its work now. May raise OSError or HTTPException where it does not."""

    def start(self) -> None:
        """Start it, also again after `kill`; `wait_ready` says when it answers."""
        self.process = self.host.start(self._command, self._environment)

    def running(self) -> Process:
        assert self.process is not None, f"{self._command[0]} was never started"
        return self.process

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Raises TimeoutError with the end of its log where it ended or does not answer in time."""
        process = self.running()
        deadline = time.monotonic() + timeout_s
        while process.poll() is not None or not self._is_up():
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                said = "has ended" if ended else f"does not answer after {timeout_s:g} s"
                raise TimeoutError(f"{' '.join(self._command)} on {self.host.name} {said}:\n{process.tail()}")
            time.sleep(POLL_S)

    def kill(self) -> None:
        self.running().kill()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """No server for the time of the block: connections are refused. Afterwards it answers again."""
        self.kill()
        try:
            yield
        finally:
            self.start()
            self.wait_ready()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """A server that hangs for the time of the block: connections open, no answers come."""
        self.running().pause()
        try:
            yield
        finally:
            self.running().resume()

    def _is_up(self) -> bool:
        try:
            return self.answers()
        except (OSError, http.client.HTTPException):
            return False


def write_secret(path: Path, text: str) -> None:
    """A new file that only its owner may read, from its first moment on."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
