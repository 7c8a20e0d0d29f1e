"""What a killed `dvc` or a full disk damaged of DVC's own files, and its remedy: `espalier mend`.

DVC writes .dvc/tmp/rwlock and dvc.lock in place, and a note of a run into a folder that it made before. Cut
off between, each ends every later `dvc repro`, with words that name no remedy. Nothing is touched while a
`dvc` works in the project.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil

from pipeline.base.files import LOCK_POLL_S, locked, write_atomic
from pipeline.base.stage import STATE_FOLDER
from pipeline.errors import EspalierError, LockedError
from pipeline.repro.dag import LOCK, committed, is_readable, places

DVC_FOLDER = ".dvc/tmp"
RWLOCK = f"{DVC_FOLDER}/rwlock"
"""DVC's list of who reads and writes what: {"write": {path: {"pid": 1, ...}}, "read": {path: [{"pid": 1,
...}]}}"""
DAMAGED = f"{STATE_FOLDER}/{LOCK}.damaged"
"""Where an unreadable dvc.lock is kept."""
CONFLICT = b"<<<<<<< "
"""Mark of a merge that a person has to end."""
PARTIAL = ".*.tmp"
"""Names of what DVC is copying, before it gets its own."""
DEAD_S = 3600.0
"""Time without a write after which nobody is copying: a sweep's points share the cache, and no lock."""
WAIT_S = 3.0
"""Time for a `dvc` that is about to end; as long as DVC waits for its own lock."""
Result = TypeVar("Result")


class Fault(NamedTuple):
    """found: what is wrong, in words. mend: does it, and returns what was done."""

    found: str
    mend: Callable[[], str]


def mending(root: Path, work: Callable[[], Result]) -> Result:
    """What `work` returns; if it fails and DVC's files are damaged, they are mended, and it is retried."""
    try:
        return work()
    except EspalierError:
        if not mended(root):
            raise
        return work()


def mended(root: Path) -> bool:
    """Whether anything was damaged; what was done is said on stderr."""
    done = mend(root)
    sys.stderr.writelines(f"espalier: {line}\n" for line in done)
    return bool(done)


def mend(root: Path, wait_s: float = WAIT_S) -> list[str]:
    """Mend all that is found, and say what was done. wait_s: for a `dvc` that is about to end.

    Raises LockedError if something is damaged while a `dvc` works here.
    """
    if not list(_mendable(root)):
        return []
    with _without_dvc(root, wait_s):
        return [fault.mend() for fault in _mendable(root)]  # anew: it may have changed until now


def _mendable(root: Path) -> Iterator[Fault]:
    """Faults that make DVC fail, or did: one that a dying `dvc` was may have ended since DVC looked."""
    yield from faults_of_dvc(root)
    path = root / RWLOCK
    with suppress(ValueError):
        if gone := [pid for pid in sorted(pids_in(path)) if not psutil.pid_exists(pid)]:
            yield Fault(f"{RWLOCK} names pid {gone[0]}, which is gone", partial(_clear, path))


def faults_of_dvc(root: Path) -> Iterator[Fault]:
    """What of DVC's files makes it fail, or lies there for nobody."""
    if not (root / ".dvc").is_dir():
        return
    yield from _of_rwlock(root / RWLOCK)
    if not is_readable(root) and CONFLICT not in (root / LOCK).read_bytes():
        yield Fault(f"{LOCK} is damaged, so each dvc command fails", partial(_restore, root))
    cache, runs = places(root)
    if empty := [path for path in runs.glob("*/*") if path.is_dir() and not _notes(path)]:
        yield Fault("notes of runs in DVC's cache are cut off, so dvc fails", partial(_remove_notes, empty))
    old = [path for path in cache.glob(f"**/{PARTIAL}") if time.time() - path.stat().st_mtime > DEAD_S]
    if old:
        megabytes = sum(path.stat().st_size for path in old) / 1e6
        yield Fault(f"{megabytes:,.1f} MB of cut-off copies lie in DVC's cache", partial(_remove_copies, old))


def stale(pid: int, rwlock: Path) -> str | None:
    """Why what an rwlock names is no `dvc` that works; None if it may be one."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return f"a zombie, for which dvc would wait (its parent, pid {process.ppid()}, has to end)"
        if process.create_time() > rwlock.stat().st_mtime:
            return f"which is now another program ({process.name()}), for which dvc would wait"
    except psutil.NoSuchProcess:
        return "which is gone"
    return None


def pids_in(rwlock: Path) -> set[int]:
    """Processes that it names. Raises ValueError if it is damaged."""
    try:
        lock: dict[str, Any] = json.loads(rwlock.read_text(encoding="utf-8"))
        readers = [reader for entries in lock.get("read", {}).values() for reader in entries]
        return {int(entry["pid"]) for entry in [*lock.get("write", {}).values(), *readers]}
    except FileNotFoundError:
        return set()
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{rwlock} is not as DVC writes it") from error


def _of_rwlock(path: Path) -> Iterator[Fault]:
    try:
        pids = pids_in(path)
    except ValueError:
        yield Fault(f"{RWLOCK} is damaged, so each dvc command fails", partial(_clear, path))
        return
    # Those that are gone DVC clears by itself at its next start.
    if reasons := [
        f"pid {pid}, {reason}"
        for pid in sorted(pids)
        if psutil.pid_exists(pid) and (reason := stale(pid, path))
    ]:
        yield Fault(f"{RWLOCK} names {'; '.join(reasons)}", partial(_clear, path))


def _clear(rwlock: Path) -> str:
    """No `dvc` works, so that nobody is missed in it."""
    with locked(rwlock.with_suffix(".lock"), wait_s=WAIT_S, what=RWLOCK):
        rwlock.unlink(missing_ok=True)
    return f"{RWLOCK} was left by a dvc that is dead, and is removed"


def _restore(root: Path) -> str:
    """Restore the committed one, if there is one: what was made since, DVC finds in its own notes of runs."""
    path = root / LOCK
    write_atomic(root / DAMAGED, path.read_bytes())
    path.unlink()
    if (text := committed(root)) is not None:
        write_atomic(path, text)
        if is_readable(root):
            return (
                f"{LOCK} was damaged (kept as {DAMAGED}), and is as committed; DVC finds in its cache "
                "what was made since"
            )
        path.unlink()
    return f"{LOCK} was damaged (kept as {DAMAGED}), and is removed; DVC finds in its cache what was made"


def _notes(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.match(PARTIAL)]


def _remove_notes(folders: list[Path]) -> str:
    for folder in folders:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    return f"{len(folders)} notes of runs in DVC's cache were cut off, and are removed"


def _remove_copies(paths: list[Path]) -> str:
    for path in paths:
        path.unlink(missing_ok=True)
    return f"{len(paths)} cut-off copies in DVC's cache are removed"


@contextmanager
def _without_dvc(root: Path, wait_s: float) -> Iterator[None]:
    """While no `dvc` works in a project.

    Raises LockedError if one does not end: it gives its lock back for a stage's time.
    """
    deadline = time.monotonic() + wait_s
    with locked(
        root / DVC_FOLDER / "lock", wait_s=wait_s, what="DVC's lock, beside files of DVC that are damaged,"
    ):
        while (found := _living(root.absolute())) and time.monotonic() < deadline:
            time.sleep(LOCK_POLL_S)
        if found:
            raise LockedError(
                f"{root / DVC_FOLDER}: files of DVC are damaged, but a dvc works here (pid {found[0].pid}); "
                "wait for it to end, or stop it, then run `espalier mend`"
            )
        yield


def _living(root: Path) -> list[psutil.Process]:
    """Other processes that run DVC in a project; one whose folder is not shown to us may be there."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if process.pid != os.getpid() and _runs_dvc(process) and _may_be_in(process, root):
                found.append(process)
    return found


def _runs_dvc(process: psutil.Process) -> bool:
    words = process.cmdline()[:3] if process.status() != psutil.STATUS_ZOMBIE else []
    return any(Path(word).name == "dvc" or word == "pipeline.repro.one" for word in words)


def _may_be_in(process: psutil.Process, root: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(root.resolve())
    except psutil.AccessDenied:
        return True
