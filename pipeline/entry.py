"""How every stage starts: check all of params.yaml, watch the parent, report, end with one clear message.

Nothing here can change an out, so no stage of dvc.yaml depends on this file.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

import pipeline.environment  # noqa: F401 - first: it settles what the others read
from pipeline.errors import EspalierError
from pipeline.machine import place
from pipeline.report import Reporter
from pipeline.repro.side_by_side import STARTER
from pipeline.schema import check_params
from pipeline.stage import Stage
from pipeline.tracking.delivery import tracked

PARENT_POLL_S = 0.5


def run(name: str, main: Callable[[Stage, Reporter], None]) -> None:
    """Run a stage's main and end this process. A user's error ends with its message on stderr and status 1, Ctrl-C with 130."""
    die_with_dvc()
    status = 0
    try:
        check_params(Path("params.yaml"))
        stage = Stage(name)
        with place(stage), tracked(stage) as report:
            main(stage, report)
    except EspalierError as error:
        sys.stderr.write(f"espalier {name}: {error}\n")
        status = 1
    except KeyboardInterrupt:
        sys.stderr.write(f"espalier {name}: interrupted; the same command goes on from what is complete\n")
        status = 128 + signal.SIGINT
    # All is written; the courier delivers. Python would now take torch and its modules apart, for 3 s.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def die_with_dvc() -> None:
    """End this process and its children when what started it is gone, `dvc repro` or `espalier repro`.

    DVC does not pass its own death on: after SIGKILL of `dvc repro` the stage would run on, and the
    next repro would race it.
    """
    starters = _starters()
    if starters:
        threading.Thread(target=_watch, args=(starters,), daemon=True, name="die-with-dvc").start()


def _starters() -> list[psutil.Process]:
    """The process that runs `dvc repro`: DVC sets DVC_STAGE, and its shell may stand between. Or all up to `espalier repro`."""
    if "DVC_STAGE" not in os.environ:
        return []
    parents: list[psutil.Process] = psutil.Process().parents()
    if STARTER not in os.environ:
        return [parent for parent in parents if any(Path(word).name.startswith("dvc") for word in parent.cmdline()[:3])][:1]
    pids = [str(parent.pid) for parent in parents]
    if os.environ[STARTER] not in pids:  # it was killed while this stage waited for DVC's lock
        os.kill(os.getpid(), signal.SIGKILL)
    return parents[: pids.index(os.environ[STARTER]) + 1]


def _watch(starters: list[psutil.Process]) -> None:
    while all(_lives(starter) for starter in starters):
        time.sleep(PARENT_POLL_S)
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    os.kill(os.getpid(), signal.SIGKILL)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
