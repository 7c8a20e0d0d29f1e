"""A stage's side of tracking: it writes the journal, while a process of its own, the courier, carries that to MLflow.

A process and not a thread: to import MLflow takes seconds, which a thread would take from the stage's own work. The
courier ends when its pipe from the stage closes, so it never outlives a stage that was killed.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import LockedError
from pipeline.report import Journal, Reporter, read_journal
from pipeline.stage import Stage
from pipeline.tracking.records import new_record, pipeline_key, read_record, write_record

ANSWERING_S = 10.0
"""How long a stage that has ended waits for the rest to be delivered."""
SILENT_S = 3.0
"""The same, where the server did not answer last time."""
POLL_S = 0.02
END = b"end"
"""What the courier is told before its pipe closes when the stage has ended; without it, the stage was killed."""


@contextmanager
def tracked(stage: Stage) -> Iterator[Reporter]:
    """A reporter for a stage's work: it writes the stage's journal, and the courier delivers that to MLflow.

    A server that is down costs the stage nothing but a bounded wait at its end, and one line on stderr.
    """
    delivery = Delivery(stage)
    try:
        yield Journal(stage.journal)
    except LockedError:
        delivery.withdraw()
        raise
    except BaseException:
        delivery.finish(failed=True)
        raise
    delivery.finish(failed=False)


def start_courier(stage: Stage) -> subprocess.Popen[bytes]:
    """The courier of a stage, its stdin and stdout on pipes."""
    package = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.tracking.courier", stage.name, str(stage.root.absolute())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )


class Delivery:
    """From a stage's start to its end; `finish` is the only call that waits, and it waits for a bounded time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._delivered = 0
        self._problem: str | None = None
        write_record(stage.journal, new_record(stage, time.time()))
        self._courier = start_courier(stage)
        self._listener = threading.Thread(target=self._listen, daemon=True, name=f"courier-{stage.name}")
        self._listener.start()

    def withdraw(self) -> None:
        """End without a word: another process runs this stage, and the run's end is its to tell."""
        self._courier.kill()
        self._courier.wait()
        self._listener.join()
        if self._courier.stdin is not None:
            self._courier.stdin.close()

    def finish(self, *, failed: bool) -> None:
        """Wait for the last delivery; one line on stderr says what is left, if anything is.

        A stage that failed ends in its own message alone.
        """
        record = read_record(self._stage.journal)
        changes = {
            "status": "FAILED" if failed else "FINISHED",
            "ended": time.time(),
            "pipeline_key": record.pipeline_key or pipeline_key(self._stage),
        }
        write_record(self._stage.journal, record.model_copy(update=changes))
        self._send_end()
        start = time.monotonic()
        while self._courier.poll() is None and time.monotonic() - start < (SILENT_S if self._problem else ANSWERING_S):
            time.sleep(POLL_S)
        self.withdraw()
        if not failed and not read_record(self._stage.journal).delivered:
            self._tell()

    def _send_end(self) -> None:
        assert self._courier.stdin is not None
        try:
            self._courier.stdin.write(END)
            self._courier.stdin.close()
        except BrokenPipeError:
            self._problem = self._problem or "the process that delivers to MLflow has ended"

    def _listen(self) -> None:
        """Note what the courier says of itself: events delivered, and what is in the way, if anything is."""
        assert self._courier.stdout is not None
        with self._courier.stdout as lines:
            for line in lines:
                state = json.loads(line)
                self._delivered, self._problem = state["delivered"], state["problem"]

    def _tell(self) -> None:
        waiting = max(sum(1 for _ in read_journal(self._stage.journal)) - self._delivered, 0)
        reason = self._problem or f"MLflow was not done within {ANSWERING_S:.0f} s"
        sys.stderr.write(
            f"espalier {self._stage.name}: {reason}; {waiting} events and the run's end wait in "
            f"{self._stage.journal.relative_to(self._stage.root.absolute())}: `espalier sync` or the next stage sends them\n"
        )
