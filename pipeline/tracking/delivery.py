"""The thread that carries a stage's journal to a tracking server while the stage works, and never holds it up.

It knows no MLflow: tracking.py hands in how to open a session.
"""

import math
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import EspalierError
from pipeline.files import locked
from pipeline.report import read_journal
from pipeline.stage import Stage
from pipeline.tracking.records import RunRecord, Tail, new_record, pipeline_key, upstream, write_record

POLL_S = 1.0
RETRY_S = 5.0
ANSWERING_S = 10.0
"""How long a stage that has ended waits for the rest to be delivered."""
SILENT_S = 3.0
"""The same, where the server did not answer last time."""
LAST_RETRY_S = 0.5


class Session(Protocol):
    """An open way to one run on the server. Raises EspalierError or OSError where the server fails."""

    def send(self, events: list[dict[str, Any]]) -> None:
        """Deliver what the server lacks of these events."""

    def close(self, record: RunRecord) -> None:
        """Deliver what only the end decides: final values, artifacts, links, the run's status."""


class Delivery:
    """From a stage's start to its end; `finish` is the only call that waits, and it waits for a bounded time."""

    def __init__(self, stage: Stage, open_session: Callable[[RunRecord], Session]) -> None:
        self._stage = stage
        self._open = open_session
        self._record = new_record(stage, time.time())
        self._record_lock = threading.Lock()
        self._ending, self._abandoned = threading.Event(), threading.Event()
        self._delivered = 0
        self._problem: str | None = None
        write_record(stage.journal, self._record)
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"deliver-{stage.name}")
        self._thread.start()

    def withdraw(self) -> None:
        """End without a word: another process runs this stage, and the run's end is its to tell."""
        self._abandoned.set()

    def finish(self, *, failed: bool) -> None:
        """Wait for the last delivery; one line on stderr says what is left, if anything is.

        A stage that failed ends in its own message alone.
        """
        self._update(
            status="FAILED" if failed else "FINISHED",
            ended=time.time(),
            pipeline_key=self._record.pipeline_key or pipeline_key(self._stage),
        )
        self._ending.set()
        start = time.monotonic()
        while self._thread.is_alive() and time.monotonic() - start < (SILENT_S if self._problem else ANSWERING_S):
            self._thread.join(0.05)
        self._abandoned.set()
        if not self._record.delivered and not failed:
            self._tell()

    def _tell(self) -> None:
        waiting = max(sum(1 for _ in read_journal(self._stage.journal)) - self._delivered, 0)
        reason = self._problem or f"MLflow was not done within {ANSWERING_S:.0f} s"
        sys.stderr.write(
            f"espalier {self._stage.name}: {reason}; {waiting} events and the run's end wait in "
            f"{self._stage.journal.relative_to(self._stage.root.absolute())}: `espalier sync` or the next stage sends them\n"
        )

    def _update(self, **changes: Any) -> None:
        with self._record_lock:
            self._record = self._record.model_copy(update=changes)
            write_record(self._stage.journal, self._record)

    def _run(self) -> None:
        with locked(journal_lock(self._stage.journal), wait_s=math.inf, what="this journal"):
            if self._abandoned.is_set():
                return
            self._update(upstream=upstream(self._stage))
            while not self._abandoned.is_set() and not self._attempt():
                if self._ending.wait(RETRY_S):
                    time.sleep(LAST_RETRY_S)

    def _attempt(self) -> bool:
        """Deliver until the stage ends. False where the server failed: a new session then asks it again what it has."""
        tail, read = Tail(self._stage.journal), 0
        try:
            session = self._open(self._record)
            while True:
                ending = self._ending.is_set()
                events = tail.read()
                session.send(events)
                read += len(events)
                self._delivered, self._problem = max(self._delivered, read), None
                if ending:
                    session.close(self._record)
                    self._update(delivered=True)
                    return True
                self._ending.wait(POLL_S)
        except (EspalierError, OSError) as error:
            self._problem = str(error)
            return False


def journal_lock(journal: Path) -> Path:
    """Who holds it delivers this journal, so that two cannot send the same point."""
    return journal.with_suffix(".lock")
