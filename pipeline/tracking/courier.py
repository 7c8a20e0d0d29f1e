"""The process that carries a stage's journal to MLflow meanwhile: `python -m pipeline.tracking.courier`.

It ends after the last delivery when the stage says on stdin that it has ended, and at once when that pipe
closes without a word. What a server that does not answer leaves undelivered, it says in one line on stderr.
"""

import argparse
import math
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.base.files import locked
from pipeline.base.stage import Stage
from pipeline.errors import EspalierError
from pipeline.process.ending import tell
from pipeline.tracking.delivery import END
from pipeline.tracking.journal import read_journal
from pipeline.tracking.records import RunRecord, Tail, journal_lock, read_record, upstream, write_record
from pipeline.tracking.store import open_session

DELIVERY_POLL_S = 1.0
DELIVERY_RETRY_S = 5.0
LAST_RETRY_S = 0.5
DELIVERY_PATIENCE_S = 3.0
"""How long after the stage's end a server that does not answer is asked again."""


class Session(Protocol):
    """An open way to one run on the server. Raises EspalierError or OSError if the server fails."""

    def send(self, events: list[dict[str, Any]]) -> None:
        """Deliver what the server lacks of these events."""

    def close(self, record: RunRecord) -> None:
        """Deliver what only the end decides: final values, artifacts, links, the run's status."""


class Courier:
    """Delivers until it is told the end."""

    def __init__(self, stage: Stage, open_session: Callable[[RunRecord], Session]) -> None:
        self._stage = stage
        self._open = open_session
        self._ending, self._abandoned = threading.Event(), threading.Event()
        self._upstream: dict[str, str] = {}
        self._delivered = 0
        self._problem: str | None = None

    def end(self) -> None:
        """The stage has ended, and its record is complete."""
        self._ending.set()

    def abandon(self) -> None:
        """The stage is gone without a word."""
        self._abandoned.set()
        self._ending.set()

    def run(self) -> None:
        with locked(journal_lock(self._stage.journal), wait_s=math.inf, what="this journal"):
            if self._abandoned.is_set():
                return
            self._upstream = upstream(self._stage)
            while not self._attempt() and not self._ending.wait(DELIVERY_RETRY_S):
                pass
            self._try_for_a_last_time()
            if self._problem and not self._abandoned.is_set():
                self._tell()

    def _try_for_a_last_time(self) -> None:
        deadline = time.monotonic() + DELIVERY_PATIENCE_S
        while self._problem and not self._abandoned.is_set() and time.monotonic() < deadline:
            time.sleep(LAST_RETRY_S)
            self._attempt()

    def _attempt(self) -> bool:
        """Deliver until the stage ends.

        False if the server failed: a new session then asks it again what it has.
        """
        tail, read = Tail(self._stage.journal), 0
        try:
            session = self._open(self._record())
            while not self._abandoned.is_set():
                ending = self._ending.is_set()
                events = tail.read()
                session.send(events)
                read += len(events)
                self._delivered = max(self._delivered, read)
                if ending:
                    session.close(self._write_record())
                    self._write_record(delivered=True)
                    break
                self._ending.wait(DELIVERY_POLL_S)
            self._problem = None
        except (EspalierError, OSError) as error:
            if self._ending.is_set() and not self._abandoned.is_set():
                self._write_record()  # what was found out of the ancestors must not be lost
            self._problem = str(error)
        return self._problem is None

    def _tell(self) -> None:
        """What waits and why, in one line; a stage that failed ends in its own message alone."""
        journal = self._stage.journal
        if read_record(journal).status == "FAILED":
            return
        waiting = max(sum(1 for _ in read_journal(journal)) - self._delivered, 0)
        sys.stderr.write(
            f"espalier {self._stage.name}: {self._problem}; {waiting} events and the run's end wait in "
            f"{journal.relative_to(self._stage.root.absolute())}: `espalier sync` or the next stage sends "
            "them\n"
        )

    def _record(self) -> RunRecord:
        return read_record(self._stage.journal).model_copy(update={"upstream": self._upstream})

    def _write_record(self, **changes: Any) -> RunRecord:
        """Write the record, only after the end, because the stage writes it too."""
        record = self._record().model_copy(update=changes)
        write_record(self._stage.journal, record)
        return record


def obey(courier: Courier, orders: BinaryIO) -> None:
    """Tell the courier what the stage says: its end, or that the pipe was closed without a word."""
    with orders:
        said = orders.read()
    if said == END:
        courier.end()
    else:
        courier.abandon()


def main(name: str, root: Path) -> None:
    """Run the courier of the stage `name` until stdin says the end, or closes."""
    try:
        stage = Stage(name, root)
        courier = Courier(stage, lambda record: open_session(stage, record))
        threading.Thread(target=obey, args=(courier, sys.stdin.buffer), daemon=True, name="orders").start()
        courier.run()
    except (EspalierError, OSError) as error:
        sys.exit(tell(error, f"espalier {name}: what was reported waits for `espalier sync`"))


if __name__ == "__main__":
    words = argparse.ArgumentParser(prog="python -m pipeline.tracking.courier")
    words.add_argument("name")
    words.add_argument("root", type=Path)
    main(**vars(words.parse_args()))
