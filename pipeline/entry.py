"""How every stage starts: check all of params.yaml, watch the parent, report, end with one clear message.

Nothing here can change an out, so no stage of dvc.yaml depends on this file.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.base.params import nearest
from pipeline.base.stage import Stage
from pipeline.base.yaml_file import read_yaml
from pipeline.check.check import check_before
from pipeline.errors import EspalierError
from pipeline.process.ending import USAGE, flushed, tell
from pipeline.process.leftovers import at_work
from pipeline.repro.machine_lock import hold_machine
from pipeline.repro.mend import RWLOCK, pids_in
from pipeline.repro.side_by_side import STARTER
from pipeline.schema import check_params
from pipeline.tracking.delivery import tracked
from pipeline.tracking.journal import Reporter

PARENT_POLL_S = 0.5
STAGE = "DVC_STAGE"
"""Variable that DVC sets for what it starts."""
RWLOCK_POLLS = 20
"""Looks until a list that cannot be read is not one that another stage's dvc is writing."""


def run_stage(name: str, main: Callable[[Stage, Reporter], None]) -> None:
    """Run a stage's main and end this process. A user's error ends with status 1, Ctrl-C with 130.

    Words on the command line are of a stage with items (`foreach` of dvc.yaml): the name of one of them.
    """
    status = 0
    try:
        name = _whole_name(name, sys.argv[1:])
        die_with_dvc()
        check_params(Path("params.yaml"))
        stage = Stage(name)
        with at_work(stage), hold_machine(stage):
            check_before(name.partition("@")[0], stage.root)
            with tracked(stage) as report, flushed():
                main(stage, report)
    except BaseException as error:  # those of this program go on from there, with their traceback
        status = tell(error, f"espalier {name}")
    # All is written; the courier delivers. Python would now take torch and its modules apart, for 3 s.
    os._exit(status)


def _whole_name(name: str, words: list[str]) -> str:
    """Name of a stage with its variant, such as evaluate@dense.

    Ends this process, with a line on how to start it, where the words are others.
    """
    items = list(read_yaml(Path("dvc.yaml")).get("stages", {}).get(name, {}).get("foreach", []))
    if [word for word in words if word in items] == words and len(words) == bool(items):
        return "@".join([name, *words])
    wrong = f"there is no {words[0]!r}{nearest(words[0], items)}\n" if items and words else ""
    sys.stderr.write(
        f"espalier {name}: {wrong}usage: python -m stages.{name} {'|'.join(items)}".rstrip() + "\n"
    )
    sys.exit(USAGE)


def die_with_dvc() -> None:
    """End this process and its children when what started it is gone, `dvc repro` or `espalier repro`.

    DVC does not pass its own death on: after SIGKILL of `dvc repro` the stage would run on, and the next
    repro would race it. Raises EspalierError if that was killed while this process imported: nothing is
    written yet.
    """
    starters = _starters()
    if starters:
        threading.Thread(target=_watch, args=(starters,), daemon=True, name="die-with-dvc").start()


def _starters() -> list[psutil.Process]:
    """The `dvc repro` or `espalier repro` that started this process, and what is between; else empty."""
    if STAGE not in os.environ:
        return []
    parents: list[psutil.Process] = psutil.Process().parents()
    pids = {int(os.environ[STARTER])} if STARTER in os.environ else _dvcs(Path())
    depths = [depth for depth, parent in enumerate(parents, start=1) if parent.pid in pids]
    if not depths:
        raise EspalierError(
            f"{STAGE} is set, but the dvc that started this stage is gone; run `dvc repro` again, or unset "
            f"{STAGE} if it was started without one"
        )
    return parents[: depths[0]]


def _dvcs(folder: Path) -> set[int]:
    """All that run stages in this project now: DVC notes it before it starts one."""
    here = folder.absolute()
    rwlock = next(
        (place / RWLOCK for place in (here, *here.parents) if (place / RWLOCK).exists()), here / RWLOCK
    )
    for _ in range(RWLOCK_POLLS):
        with suppress(ValueError):
            return pids_in(rwlock)
        time.sleep(PARENT_POLL_S / RWLOCK_POLLS)
    return set()


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
