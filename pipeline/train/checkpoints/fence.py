"""Who may write a run that lies in a storage: one driver, and of its workers the rank 0 that started last.

    owner.txt    the driver that claimed the run and, once it has started, its rank 0: "<driver> <worker>"
    alive.txt    something new every few seconds while the machine lives that the run is driven for

A driver that finds another's claim watches whether that one lives; clocks are not compared. A rank 0 puts its
name behind its driver's, and looks right before all that it makes visible whether it is still there. So a
rank 0 that was cut off and given up, and the workers of a driver that was taken for dead, end at their next
write.

An object store without compare-and-swap cannot exclude what happens between look and write: for about as long
as one request, two can write. Nothing wrong comes of it, because both train the same run: a checkpoint has a
name of its own, is verified whoever wrote it and says where the training stood, and journal, live line and
result are the same or written anew. Of two drivers that claim in the same moment the later stays, and the
other's rank 0 is refused.
"""

import secrets
import sys
import time

from pipeline.errors import LockedError, redacted
from pipeline.storage import Storage

OWNER_NAME = "owner.txt"
ALIVE_NAME = "alive.txt"
WATCH_S = 20.0
"""Time of four missing signs of life, after which a driver counts as dead; if only cut off, it is fenced."""
FENCE_POLL_S = 1.0


class Fence:
    """One driver's or worker's view of the run in `storage`.

    name: "<place>-<random>" of a driver, and behind it " <random>" of a worker. A place has one driver at a
    time, by a lock.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._name = name

    def claim(self, watch_s: float = WATCH_S, every_s: float = FENCE_POLL_S) -> None:
        """Claim the run, on a driver. Raises LockedError if another one lives."""
        found = self._owner()
        if found and _place(found) != _place(self._name):
            self._watch(watch_s, every_s)
        self._storage.write(OWNER_NAME, self._name.encode())

    def sign(self) -> None:
        """Show, on a driver, that it lives, while the run is its own."""
        if self.is_driven:
            self._storage.write(ALIVE_NAME, secrets.token_hex(8).encode())

    def take(self) -> None:
        """Take over the writing, on a new rank 0: no other writes from now on.

        Raises LockedError if another driver has claimed the run.
        """
        if not self.is_driven:
            raise self._lost()
        self._storage.write(OWNER_NAME, self._name.encode())

    def check(self) -> None:
        """Check, on rank 0, right before something becomes visible.

        Raises LockedError if another has taken its place.
        """
        if not self.is_writer:
            raise self._lost()

    @property
    def is_writer(self) -> bool:
        return self._owner() == self._name

    @property
    def is_driven(self) -> bool:
        """Whether the run is still this driver's, or that of this worker's driver."""
        return _driver(self._owner()) == _driver(self._name)

    def _watch(self, watch_s: float, every_s: float) -> None:
        """Return when the other driver gave no sign for so long; raise LockedError at its first."""
        where = redacted(self._storage.url)
        sys.stderr.write(
            f"espalier: another folder or machine began {where}; looking for {watch_s:.0f} s whether it "
            "lives\n"
        )
        before, deadline = self._signs(), time.monotonic() + watch_s
        while time.monotonic() < deadline:
            time.sleep(every_s)
            if self._signs() != before:
                raise LockedError(
                    f"another folder or machine trains from the same inputs in {where}; wait for it, stop "
                    "it, or use another resources.storage"
                )

    def _signs(self) -> tuple[bytes | None, bytes | None]:
        return self._storage.read(OWNER_NAME), self._storage.read(ALIVE_NAME)

    def _owner(self) -> str:
        return (self._storage.read(OWNER_NAME) or b"").decode()

    def _lost(self) -> LockedError:
        return LockedError(
            f"{redacted(self._storage.url)}: another worker has taken over this run; this one ends"
        )


def _driver(name: str) -> str:
    return name.partition(" ")[0]


def _place(name: str) -> str:
    return name.partition("-")[0]
