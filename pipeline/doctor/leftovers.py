"""What dead processes leave: locks that somebody still holds, DVC's list of who works, folders of a Ray that is gone."""

import fcntl
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import psutil

from pipeline.doctor.finding import Verdict, judged, ok, problem
from pipeline.stage import STATE_FOLDER

LOCKS = ("driver.lock", "writer.lock")
RAY_FOLDER = re.compile(r"ray-[a-z0-9_]{8}(-[a-z0-9_]{8})?")
"""As cluster.py and infra/local_cluster.py name them."""
YOUNG_S = 60.0
"""In which a Ray that starts may not have a process yet."""


def run_locks(root: Path) -> Verdict:
    """Who holds the locks of runs. A run without a holder goes on from its last checkpoint when its stage is run again."""
    runs = sorted(path for path in (root / STATE_FOLDER / "runs").glob("*") if path.is_dir())
    problems, running, resumable = [], [], []
    for run in runs:
        driver, writer = (is_held(run / name) for name in LOCKS)
        for name, held in zip(LOCKS, (driver, writer), strict=True):
            if held and (why := _fault(run / name, alone=name == "writer.lock" and not driver)):
                problems.append(why)
        if driver or writer:
            running.append(f"{run.name} ({_who(_holder(run / LOCKS[0 if driver else 1]))})")
        else:
            resumable.append(run.name)
    parts = [f"{what}: {', '.join(names)}" for what, names in (("running", running), ("resumable", resumable)) if names]
    return judged(problems, "; ".join(parts) or "no run is unfinished")


def dvc_lock(root: Path) -> Verdict:
    """Whom .dvc/tmp/rwlock names. DVC clears entries of pids that are gone, but waits for zombies and for reused pids."""
    path, shown = root / ".dvc" / "tmp" / "rwlock", ".dvc/tmp/rwlock"
    if not path.exists():
        return ok("no dvc command left one")
    remedy = f"when no dvc command runs here, remove {shown}"
    try:
        pids = _pids(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError):
        return problem(f"{shown} is damaged, so each dvc command fails; {remedy}")
    faults = {pid: _dvc_fault(pid, path) for pid in sorted(pids)}
    problems = [f"{shown} names pid {pid}, {fault}; {remedy}" for pid, fault in faults.items() if fault]
    busy = ", ".join(str(pid) for pid, fault in faults.items() if not fault)
    return judged(problems, f"a dvc command runs: pid {busy}" if busy else "nothing is locked")


def ray_folders(temporary: Path, young_s: float = YOUNG_S) -> Verdict:
    """Folders of local Rays of this user in which no process works any more."""
    mine = [
        path
        for path in sorted(temporary.glob("ray-*"))
        if RAY_FOLDER.fullmatch(path.name) and path.is_dir() and path.lstat().st_uid == os.getuid()
    ]
    if not mine:
        return ok("none")
    commands = "\n".join(" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    gone = [str(path) for path in mine if str(path) not in commands and time.time() - path.lstat().st_mtime > young_s]
    problems = [f"{path} is of a Ray that was killed; `rm -r {path}`" for path in gone]
    return judged(problems, f"{len(mine)} of a Ray that runs")


def is_held(path: Path) -> bool:
    """Whether somebody holds the kernel's lock on this file. Asked with a shared one, which is given back at once."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _holder(path: Path) -> psutil.Process | None:
    """The process that took the lock, where this system tells and it lives."""
    status = path.stat()
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    locks = Path("/proc/locks")
    for line in locks.read_text().splitlines() if locks.exists() else []:
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
        return f"{where} is held by pid {holder.pid}, which is stopped; `kill -CONT {holder.pid}`, or `kill -9 {holder.pid}`"
    if alone:
        end = f"`kill {holder.pid}`" if holder else "end the training's processes that are left on this or another node"
        return f"{where} is held by {_who(holder)}, a worker whose driver is gone; {end}, then run the stage again"
    return None


def _pids(lock: dict[str, Any]) -> set[int]:
    """{"write": {path: {"pid": 1, ...}}, "read": {path: [{"pid": 1, ...}]}} -> {1}"""
    readers = [reader for entries in lock.get("read", {}).values() for reader in entries]
    return {int(entry["pid"]) for entry in [*lock.get("write", {}).values(), *readers]}


def _dvc_fault(pid: int, rwlock: Path) -> str | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return f"a zombie, for which dvc would wait (its parent, pid {process.ppid()}, has to end)"
        if process.create_time() > rwlock.stat().st_mtime:
            return f"which is now another program ({process.name()}), for which dvc would wait"
    except psutil.NoSuchProcess:
        return "which is gone from this machine; the next dvc command clears this by itself"
    return None
