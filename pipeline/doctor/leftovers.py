"""What dead processes leave: locks that are still held, DVC's files cut off, folders of dead Rays."""

import os
import re
import time
from pathlib import Path

import psutil

from pipeline.base.stage import STATE_FOLDER
from pipeline.doctor.finding import CheckResult, check_result, ok
from pipeline.process.leftovers import OWNER_LOCK, RUN_LOCKS, dead_folders, is_held
from pipeline.repro.mend import RWLOCK, faults_of_dvc, pids_in

RAY_FOLDER = re.compile(r"ray-[a-z0-9_]{8}(-[a-z0-9_]{8})?")
"""Names that launch/ray_cluster.py and infra/local_cluster.py give to Ray's folders."""
YOUNG_S = 60.0
"""Time in which a Ray that starts may not have a process yet."""


def run_locks(root: Path) -> CheckResult:
    """Who holds the locks of runs.

    A run without a holder goes on from its last checkpoint when its stage is run again.
    """
    runs = sorted(path for path in (root / STATE_FOLDER / "runs").glob("*") if path.is_dir())
    problems, running, resumable = [], [], []
    for run in runs:
        driver, writer = (is_held(run / name) for name in RUN_LOCKS)
        for name, held in zip(RUN_LOCKS, (driver, writer), strict=True):
            if held and (why := _fault(run / name, alone=name == "writer.lock" and not driver)):
                problems.append(why)
        if driver or writer:
            running.append(f"{run.name} ({_who(_holder(run / RUN_LOCKS[0 if driver else 1]))})")
        else:
            resumable.append(run.name)
    parts = [
        f"{what}: {', '.join(names)}"
        for what, names in (("running", running), ("resumable", resumable))
        if names
    ]
    return check_result(problems, "; ".join(parts) or "no run is unfinished")


def dvc_files(root: Path) -> CheckResult:
    """Whether DVC can read its own files, and whom it would wait for.

    What names a pid that is gone it clears by itself.
    """
    problems = [
        f"{fault.found}; `espalier mend` when no dvc command runs here" for fault in faults_of_dvc(root)
    ]
    if problems:
        return check_result(problems, "")
    busy = ", ".join(str(pid) for pid in sorted(pids_in(root / RWLOCK)) if psutil.pid_exists(pid))
    return ok(f"a dvc command runs: pid {busy}" if busy else "nothing is locked or cut off")


def scratch_folders(root: Path, temporary: Path) -> CheckResult:
    """Temporary files of killed processes of this project, here and where its Rays are."""
    dead = dead_folders(root.absolute(), temporary)
    return ok(
        f"{len(dead)} of killed processes, which the next stage removes" if dead else "none without an owner"
    )


def dead_ray_folders(temporary: Path, young_s: float = YOUNG_S) -> CheckResult:
    """Folders of local Rays of this user in which no process works any more."""
    mine = [
        path
        for path in sorted(temporary.glob("ray-*"))
        if RAY_FOLDER.fullmatch(path.name) and path.is_dir() and path.lstat().st_uid == os.getuid()
    ]
    if not mine:
        return ok("none")
    commands = "\n".join(
        " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])
    )
    gone = [path for path in mine if not _is_at_work(path, commands, young_s)]
    problems = [f"{path} is of a Ray that was killed; `rm -r {path}`" for path in gone]
    return check_result(problems, f"{len(mine)} of a Ray that runs")


def _is_at_work(folder: Path, commands: str, young_s: float) -> bool:
    """Whether a Ray is in a folder: by the lock of what started it, else by its processes' commands."""
    if (folder / OWNER_LOCK).exists():
        return is_held(folder / OWNER_LOCK)
    return str(folder) in commands or time.time() - folder.lstat().st_mtime <= young_s


def _holder(path: Path) -> psutil.Process | None:
    """The process that took the lock, if this system tells and it lives."""
    status = path.stat()
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    locks = Path("/proc/locks")
    for line in locks.read_text(encoding="utf-8").splitlines() if locks.exists() else []:
        words = line.split()
        if place in words and "FLOCK" in words:
            pid = int(words[words.index(place) - 1])
            return psutil.Process(pid) if psutil.pid_exists(pid) else None
    return None


def _who(process: psutil.Process | None) -> str:
    return f"pid {process.pid}" if process else "a process that this one cannot see"


def _fault(lock: Path, *, alone: bool) -> str | None:
    """What is wrong with a lock that is held."""
    where, holder = f"{lock.parent.name}/{lock.name}", _holder(lock)
    if holder and holder.status() == psutil.STATUS_STOPPED:
        return (
            f"{where} is held by pid {holder.pid}, which is stopped; `kill -CONT {holder.pid}`, or `kill "
            f"-9 {holder.pid}`"
        )
    if alone:
        end = (
            f"`kill {holder.pid}`"
            if holder
            else "end the training's processes that are left on this or another node"
        )
        return (
            f"{where} is held by {_who(holder)}, a worker whose driver is gone; {end}, then run the stage "
            "again"
        )
    return None
