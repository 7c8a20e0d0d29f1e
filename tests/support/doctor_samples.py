"""Processes that hold what they should not, and how a verdict is read, for the tests of `espalier doctor`."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.doctor.finding import CheckResult

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(120)
"""


def says(verdict: CheckResult, *words: str) -> None:
    """Assert that the verdict is a problem whose text has all these words."""
    assert verdict.state == "problem"
    assert [word for word in words if word not in verdict.text] == []


@contextmanager
def holding(lock: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds this lock."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
