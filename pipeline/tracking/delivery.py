"""A stage's side of tracking: it writes the journal, and starts the courier that carries it to MLflow.

The stage never waits for MLflow. A process and not a thread: to import MLflow takes seconds, which a thread
would take from the stage's own work. The courier ends a few seconds after the stage at the latest, and at
once when it was killed.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from pipeline.base.stage import Stage
from pipeline.errors import LockedError
from pipeline.tracking.journal import Journal, Reporter
from pipeline.tracking.records import new_record, pipeline_key, read_record, write_record

END = b"end"
"""What the courier is told before its pipe closes when the stage has ended; without it, the stage was killed.
"""


class CourierProcess(Protocol):
    """What a stage needs of the process that carries its journal."""

    @property
    def stdin(self) -> Any: ...

    def kill(self) -> None: ...


@contextmanager
def tracked(stage: Stage, start: Callable[[Stage], CourierProcess] | None = None) -> Iterator[Reporter]:
    """A reporter for a stage's work: it writes the stage's journal, which the courier takes to MLflow.

    start: starts the courier, by itself start_courier.
    """
    write_record(stage.journal, new_record(stage, time.time()))
    courier = (start or start_courier)(stage)
    try:
        yield Journal(stage.journal)
    except LockedError:
        # Another process runs this stage, and the run's end is its to tell.
        courier.kill()
        raise
    except BaseException:
        _finish(stage, courier, failed=True)
        raise
    _finish(stage, courier, failed=False)


def start_courier(stage: Stage) -> subprocess.Popen[bytes]:
    """The courier of a stage, its stdin on a pipe.

    In a session of its own a terminal's Ctrl-C does not reach it.
    """
    package = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.tracking.courier", stage.name, str(stage.root.absolute())],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        start_new_session=True,
    )


def _finish(stage: Stage, courier: CourierProcess, *, failed: bool) -> None:
    record = read_record(stage.journal)
    changes = {
        "status": "FAILED" if failed else "FINISHED",
        "ended": time.time(),
        "pipeline_key": record.pipeline_key or pipeline_key(stage),
    }
    write_record(stage.journal, record.model_copy(update=changes))
    assert courier.stdin is not None
    with (
        suppress(BrokenPipeError),
        courier.stdin,
    ):  # a courier that has died left its journal to the next stage
        courier.stdin.write(END)
