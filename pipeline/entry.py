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
from pipeline.ending import USAGE, flushed, tell
from pipeline.machine import place
from pipeline.params import nearest, read_yaml
from pipeline.report import Reporter
from pipeline.repro.side_by_side import STARTER
from pipeline.schema import check_params
from pipeline.stage import Stage
from pipeline.tracking.delivery import tracked

PARENT_POLL_S = 0.5


def run(name: str, main: Callable[[Stage, Reporter], None]) -> None:
    """Run a stage's main and end this process. A user's error ends with its message on stderr and status 1, Ctrl-C with 130.

    Words on the command line are of a stage with items (`foreach` of dvc.yaml): the name of one of them.
    """
    die_with_dvc()
    status = 0
    try:
        name = _whole_name(name, sys.argv[1:])
        check_params(Path("params.yaml"))
        stage = Stage(name)
        with place(stage), tracked(stage) as report, flushed():
            main(stage, report)
    except BaseException as error:  # those of this program go on from there, with their traceback
        status = tell(error, f"espalier {name}")
    # All is written; the courier delivers. Python would now take torch and its modules apart, for 3 s.
    os._exit(status)


def _whole_name(name: str, words: list[str]) -> str:
    """For example evaluate@dense. Ends this process, with a line on how to start it, where the words are others."""
    items = list(read_yaml(Path("dvc.yaml")).get("stages", {}).get(name, {}).get("foreach", []))
    if [word for word in words if word in items] == words and len(words) == bool(items):
        return "@".join([name, *words])
    wrong = f"there is no {words[0]!r}{nearest(words[0], items)}\n" if items and words else ""
    sys.stderr.write(f"espalier {name}: {wrong}usage: python -m stages.{name} {'|'.join(items)}".rstrip() + "\n")
    sys.exit(USAGE)


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
