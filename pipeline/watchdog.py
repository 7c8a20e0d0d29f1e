"""Ends a worker whose training hangs, so that Ray starts it again.

Ray asks its workers for a sign of life beside the training, so it finds a process that is frozen, and not a
training that waits for something that never comes; other workers would notice after the collective timeout,
and if there is only one, nobody. Here the training tells of each batch, and a thread looks whether it does.
What comes before the first step and after the last, such as fetching data and sending the result, takes as
long as the network needs, and is not watched.
"""

import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

LOOK_S = 1.0
SHORTEST = 30
"""Looks without a batch after which a training can count as hung; Ray gives up a frozen process at 20 s."""
TIMES_LONGEST = 20
"""Factor on the longest time that a batch took so far, which the limit is at least. A false alarm costs a
restart, which then learns the new pace."""
FIRST = 600
"""Time until the second step, as Ray's default: the first may compile, or read all from a slow disk."""
HUNG = 75
"""Exit status: try again (EX_TEMPFAIL of sysexits.h)."""


class Watch:
    """Looks are counted, not seconds: while this process does not run, because the machine is suspended,
    overloaded or swaps, nobody looks, and nothing counts against the training.
    """

    def __init__(self) -> None:
        self._num_beats = self._seen = 0
        self._longest = 0
        self.silent = 0
        """Looks since the last beat."""

    def beat(self) -> None:
        """The training goes on."""
        self._num_beats += 1

    def rest(self) -> None:
        """What follows takes as long as it takes, until the next beat."""
        self._num_beats = self._seen = self.silent = 0

    def look(self) -> bool:
        """Whether the training hangs. To be asked every LOOK_S."""
        if self._num_beats == self._seen:
            self.silent += bool(self._seen)
        else:
            if self._knows_pace:
                self._longest = max(self._longest, self.silent + 1)
            self._seen, self.silent = self._num_beats, 0
        return self.silent > (max(SHORTEST, TIMES_LONGEST * self._longest) if self._knows_pace else FIRST)

    @property
    def _knows_pace(self) -> bool:
        return self._seen > 1


_watch = Watch()
beat = _watch.beat
"""Watch.beat of the one training of this process."""
rest = _watch.rest
"""Watch.rest of the one training of this process."""


@contextmanager
def watched() -> Iterator[None]:
    """End this process if the training, in the thread that opens the block, hangs."""
    over = threading.Event()
    rest()
    watcher = threading.Thread(target=_look, args=(threading.get_ident(), over), daemon=True, name="watch")
    watcher.start()
    try:
        yield
    finally:
        over.set()


def _look(training: int, over: threading.Event) -> None:
    while not over.wait(LOOK_S):
        if _watch.look():
            frame = traceback.extract_stack(sys._current_frames()[training])[-1]
            place = f"{frame.filename}:{frame.lineno} ({frame.name})"
            sys.stderr.write(
                f"espalier: the training hung for {_watch.silent * LOOK_S:.0f} s in {place}; it starts "
                "again\n"
            )
            sys.stderr.flush()
            os._exit(HUNG)
