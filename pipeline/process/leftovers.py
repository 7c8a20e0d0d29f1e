"""What stages hold while they work, and killed ones leave: locks with their holder's name, temporary folders.

Whether an owner lives is asked of the kernel, which frees a lock when its holder dies: a pid may be another
process's by now. Nothing here can change an out, so no stage of dvc.yaml depends on this file.
"""

import fcntl
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from pipeline.base.files import locked, may_write
from pipeline.base.stage import KEY_DIGITS, STATE_FOLDER, Stage
from pipeline.errors import LockedError

STAGE_LOCKS = f"{STATE_FOLDER}/stages"
SCRATCH = f"{STATE_FOLDER}/tmp"  # noqa: S108 - below the project
"""Place in a project for temporary files: a folder for each process that needs one."""
OWNER_LOCK = "owner.lock"
"""Lock in each such folder: held by the process that made it, and names the project."""
RUN_LOCKS = ("driver.lock", "writer.lock")
NUM_RUNS_KEPT = 3
"""Unfinished runs of a stage that are kept: who changes the inputs back goes on from their checkpoints."""
DYING_S = 10.0
"""Time until a stage whose dvc was killed has noticed (entry.py looks twice a second) and ended."""
GUARD_S = 60.0
_users: list[str] = []
"""The user's folder for temporary files, while a stage at work has its own."""


@contextmanager
def at_work(stage: Stage) -> Iterator[None]:
    """Hold a stage: no other process makes its outs, and its temporary files' folder ends with the block.

    What killed processes left of the stage is removed first. Raises LockedError that names the holder.
    """
    path = stage.root / STAGE_LOCKS / f"{stage.name}.lock"
    with only(path, what=f"stage {stage.name}", wait_s=DYING_S):
        _clear_partial(stage.root / out for out in stage.outs)
        keep_newest(_other_runs(stage))
        with scratch(stage.root, stage.name) as folder, _temporary_files(folder):
            yield


@contextmanager
def only(path: Path, *, what: str, wait_s: float) -> Iterator[None]:
    """Hold a lock that says who holds it.

    Raises LockedError with those words if it is still taken after `wait_s`.
    """
    with ExitStack() as stack:
        try:
            handle = stack.enter_context(locked(path, wait_s=wait_s, what=what))
        except LockedError as error:
            raise LockedError(
                f"{what} is at work in {holder(path)}; wait for it to end, or stop it"
            ) from error
        os.ftruncate(handle, 0)
        os.write(
            handle,
            json.dumps({"pid": os.getpid(), "started": time.time(), "host": socket.gethostname()}).encode(),
        )
        yield


def holder(path: Path) -> str:
    """Name of a lock's holder, as it has left it there."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["started"]))
        return f"process {found['pid']} on {found['host']}, since {since}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def is_held(path: Path) -> bool:
    """Whether somebody holds the kernel's lock on this file.

    Asked with a shared one, which is given back at once.
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


@contextmanager
def scratch(root: Path, name: str, place: Path | None = None) -> Iterator[Path]:
    """A new folder for temporary files, this user's, that ends with the block. Killed processes' go first.

    place: where to make it instead of in the project, because its path must be short; other folders there are
    left alone, but for those that this project's killed processes made with `place` too. Raises DiskError if
    none can be made.
    """
    with ExitStack() as stack:
        with may_write(place or root / SCRATCH):
            folder = _made(root.absolute(), name, place, stack)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)  # before its lock is given back
        yield folder


def _made(root: Path, name: str, place: Path | None, stack: ExitStack) -> Path:
    own = root / SCRATCH
    with locked(
        own / "lock", wait_s=GUARD_S, what="the list of temporary folders"
    ):  # so that none lacks its owner
        for folder in dead_folders(root, *([place] if place else [])):
            shutil.rmtree(folder, ignore_errors=True)
        made = Path(tempfile.mkdtemp(dir=place or own, prefix=f"{name}-"))
        owner: IO[str] = stack.enter_context((made / OWNER_LOCK).open("w", encoding="utf-8"))
        fcntl.flock(owner, fcntl.LOCK_EX)
        owner.write(str(root))
        owner.flush()
    return made


def dead_folders(root: Path, *places: Path) -> list[Path]:
    """Folders of temporary files that killed processes of a project left in it, and in other places."""
    inside = [path for path in (root / SCRATCH).glob("*") if path.is_dir()]
    outside = [
        owner.parent for place in places for owner in place.glob(f"*/{OWNER_LOCK}") if _is_of(owner, root)
    ]
    return [folder for folder in (*inside, *outside) if not is_held(folder / OWNER_LOCK)]


def _is_of(owner: Path, root: Path) -> bool:
    """Whether this user made it, for this project or for a sweep's point in it."""
    with suppress(OSError, UnicodeDecodeError):
        is_own = all(path.lstat().st_uid == os.geteuid() for path in (owner.parent, owner))
        return is_own and Path(owner.read_text(encoding="utf-8") or "/").is_relative_to(root)
    return False


def keep_newest(folders: Iterable[Path], count: int = NUM_RUNS_KEPT) -> None:
    """Remove all but the folders that were worked in last."""
    for folder in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)[count:]:
        shutil.rmtree(folder, ignore_errors=True)


def _other_runs(stage: Stage) -> list[Path]:
    """Run directories of a stage for other inputs in which nobody works."""
    name = re.compile(re.escape(stage.name) + f"-[0-9a-f]{{{KEY_DIGITS}}}")
    runs = [path for path in stage.run_dir.parent.glob(f"{stage.name}-*") if name.fullmatch(path.name)]
    return [
        path for path in runs if path != stage.run_dir and not any(is_held(path / lock) for lock in RUN_LOCKS)
    ]


def _clear_partial(outs: Iterable[Path]) -> None:
    """Remove what a killed process left beside an out, in which it was writing it (files.py)."""
    for out in outs:
        for path in out.parent.glob(f".{out.name}.*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def _temporary_files(folder: Path) -> Iterator[None]:
    """Have temporary files of this process made in a folder; children keep what the user has set."""
    before = tempfile.tempdir
    _users.append(tempfile.gettempdir())
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        _users.pop()


def users_temporary_folder() -> Path:
    """Where child processes put temporary files: as the user has set it, also while a stage is at work."""
    return Path(_users[0] if _users else tempfile.gettempdir())
