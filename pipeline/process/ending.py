"""How a process of ours ends if it cannot go on: in one message and a status, without a traceback."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.base.files import disk_fault
from pipeline.errors import EspalierError

USAGE = 2
"""Exit status for words on the command line that cannot be, as argparse has it."""


@contextmanager
def flushed() -> Iterator[None]:
    """Print all at the end of the block. Raises BrokenPipeError if nobody reads it any more.

    Python itself would find that when it is too late to tell.
    """
    try:
        yield
    finally:
        sys.stdout.flush()


def tell(error: BaseException, who: str) -> int:
    """Say on stderr why `who` ends, and return its exit status. An error in this program is raised again."""
    if isinstance(error, BrokenPipeError):
        return _mute()
    fault = disk_fault(error) if isinstance(error, OSError) else error
    if isinstance(fault, EspalierError):
        text, status = str(fault), 1
    elif isinstance(fault, KeyboardInterrupt):
        text, status = "interrupted; the same command goes on from what is complete", 128 + signal.SIGINT
    else:
        raise error
    with suppress(BrokenPipeError):
        sys.stderr.write(f"{who}: {text}\n")
        sys.stderr.flush()
    return status


def _mute() -> int:
    """The status of a process whose reader has left, as `| head` does; what it has to say goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    return 128 + signal.SIGPIPE
