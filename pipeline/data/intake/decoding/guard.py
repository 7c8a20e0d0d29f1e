"""Limits for each item that a process decodes: one that passes them ends the process, and no other item."""

import mmap
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

POSITION_BYTES = 8
READING = -1
"""Position of a process that is between items."""
STATM_DATA = 5
"""Field of /proc/self/statm with the pages that RLIMIT_DATA counts."""


class ItemLimits(NamedTuple):
    """num_bytes: memory that an item may take on top of what the process holds when its batch begins.

    seconds: of processor time that it may take. Time on the clock would make what is left out depend on what
    else the machine does.
    """

    num_bytes: int = 1 << 30
    seconds: float = 5.0


class Unguarded:
    """No limits, for the process that prepares: what it decodes itself are raw pixels."""

    @contextmanager
    def batch(self) -> Iterator[None]:
        """ItemLimits hold during the block."""
        yield

    def begin(self, position: int) -> None:
        """The item with this number in its piece is next."""


class Guard(Unguarded):
    """ItemLimits that the kernel keeps, also in a library that never returns to Python.

    place: where the position is left for another process to read once this one is dead.
    """

    def __init__(self, limits: ItemLimits, place: mmap.mmap) -> None:
        pa.set_memory_pool(pa.system_memory_pool())  # others reserve a GiB at once, all that an item may take
        pa.set_cpu_count(1)
        self._limits = limits
        self._position = memoryview(place).cast("q")
        self._position[0] = READING

    @contextmanager
    def batch(self) -> Iterator[None]:
        before, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = _data_bytes() + self._limits.num_bytes
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._position[0] = READING
            resource.setrlimit(resource.RLIMIT_DATA, (before, most))

    def begin(self, position: int) -> None:
        self._position[0] = position
        # SIGPROF ends a process that does not handle it.
        signal.setitimer(signal.ITIMER_PROF, self._limits.seconds)


def position_of(place: mmap.mmap) -> int:
    """Number of the item at which a process with a Guard is, or was; READING between items."""
    return int.from_bytes(place[:POSITION_BYTES], "little", signed=True)


def _data_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[STATM_DATA])
    return pages * resource.getpagesize()
