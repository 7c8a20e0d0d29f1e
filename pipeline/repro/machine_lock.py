"""Who computes on this machine: a stage that times runs alone among those of this project.

dvc.yaml says it in meta.machine. alone: it times. workers: a training, which computes where its workers are.
No word: it computes here.
"""

import fcntl
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Literal

from pipeline.base.stage import STATE_FOLDER, Stage
from pipeline.base.yaml_file import read_yaml
from pipeline.launch.resources import Resources, cluster_address, is_job_server

LOCKS_FOLDER = f"{STATE_FOLDER}/machine"
"""Folder of the locks. The points of a sweep share their project's."""


def hold_machine(stage: Stage) -> AbstractContextManager[None]:
    """This machine for a stage's work, alone if it times, or no place if it computes elsewhere."""
    kind = _kind(stage)
    if kind == "workers" and is_job_server(cluster_address(stage.resources(Resources)) or ""):
        return nullcontext()
    return taken(stage.root / LOCKS_FOLDER, stage.name, alone=kind == "alone")


@contextmanager
def taken(folder: Path, name: str, *, alone: bool) -> Iterator[None]:
    """Hold the machine together with others, or alone; the kernel gives it back when this process dies.

    Who waits holds the entrance, so that those who come later cannot keep one who wants to be alone waiting
    for ever.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "work.lock").open("a") as work:
        with (folder / "entrance.lock").open("a") as entrance:
            _lock(
                entrance,
                fcntl.LOCK_EX,
                f"espalier {name}: waits for a stage that will time with nothing beside it\n",
            )
            how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
            why = (
                "nothing else of this project computes here, because it times"
                if alone
                else "what times here has ended"
            )
            _lock(work, how, f"espalier {name}: waits until {why}\n")
        yield


def _lock(file: IO[str], how: int, waiting: str) -> None:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write(waiting)
        fcntl.flock(file, how)


def _kind(stage: Stage) -> Literal["alone", "workers"] | None:
    declared = read_yaml(stage.root / "dvc.yaml")["stages"][stage.name.partition("@")[0]]
    kind: Literal["alone", "workers"] | None = declared.get("do", declared).get("meta", {}).get("machine")
    return kind
