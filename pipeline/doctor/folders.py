"""Where this machine writes: folders, shared memory, and the sockets of a local Ray."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pipeline.doctor.finding import CheckResult, check_result, ok, problem, skipped
from pipeline.errors import EspalierError
from pipeline.repro.site_cache import SITE_CACHE_SETTING, VARIABLE, fault

SMALLEST_FREE = 2_000_000_000
SMALLEST_SHM = 256_000_000
"""A local Ray's object store takes 100 MB of it (launch/ray_cluster.py); a container has 64 MB by default."""
LONGEST_SOCKET = 107
SOCKET = "/ray-01234567-01234567/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The longest name below the temporary folder that a local Ray listens on."""


def dvc_cache(root: Path) -> Path:
    """Raises EspalierError if DVC does not work here."""
    words = [sys.executable, "-m", "dvc", "cache", "dir"]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or "no message").splitlines()[0]
        raise EspalierError(
            f"`dvc cache dir` fails ({said}); run this in the project's folder, `dvc doctor` may tell more"
        )
    return root / done.stdout.strip()


def dvc_site_cache(root: Path) -> CheckResult:
    """Whether only this user may write where a `dvc` that is started here keeps pickled state."""
    remedy = "`python -m pipeline.repro.site_cache` gives you one of your own"
    if named := os.environ.get(VARIABLE):
        remedy = f"{remedy}, and unset {VARIABLE}"
    words = [sys.executable, "-m", "dvc", "config", SITE_CACHE_SETTING]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    folder = named or done.stdout.strip()
    if not folder:
        return problem(
            "DVC keeps its state in /var/tmp, where every user may write, and with it run code as you; "
            f"{remedy}"
        )
    if not Path(folder).exists():
        return problem(f"{folder} is not there yet, and its maker decides who may write there; {remedy}")
    why = fault(Path(folder))
    return (
        problem(f"{folder}: {why}, and with it run code as you; {remedy}")
        if why
        else ok(f"{folder} is this user's alone")
    )


def folders(paths: Iterable[Path], smallest_free: int = SMALLEST_FREE) -> CheckResult:
    """Whether each can be written, or made, and has room."""
    paths = list(paths)
    problems = [text for path in paths if (text := _fault(path, smallest_free))]
    room = min((shutil.disk_usage(_existing(path)).free for path in paths), default=0)
    return check_result(problems, f"{', '.join(map(str, paths))} can be written; at least {_gb(room)} free")


def shared_memory(path: Path = Path("/dev/shm"), smallest: int = SMALLEST_SHM) -> CheckResult:  # noqa: S108 - not a file of ours
    if not path.is_dir():
        return skipped(f"this system has no {path}")
    usage = shutil.disk_usage(path)
    text = f"{path} has {_gb(usage.free)} of {_gb(usage.total)} free"
    remedy = (
        "Ray's objects would go to a disk; start the container with --shm-size=2g, or remove what lies there"
    )
    return check_result([f"{text}; {remedy}"] if usage.free < smallest else [], text)


def socket_paths(temporary: Path) -> CheckResult:
    longest = LONGEST_SOCKET - len(SOCKET)
    length = len(bytes(temporary))
    if length > longest:
        return problem(
            f"the path of {temporary} has {length} bytes and may have {longest}, because a local Ray makes "
            f"sockets there, whose paths have at most {LONGEST_SOCKET}; set TMPDIR to a shorter folder"
        )
    return ok(f"{temporary} is short enough for the sockets of a local Ray")


def temporary_folder() -> Path:
    return Path(tempfile.gettempdir())


def _fault(folder: Path, smallest_free: int) -> str | None:
    existing = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror}); make it a folder that you own, with room"
    free = shutil.disk_usage(existing).free
    return (
        f"{folder} has {_gb(free)} free, less than {_gb(smallest_free)}; free some space"
        if free < smallest_free
        else None
    )


def _existing(path: Path) -> Path:
    """The path itself, or the nearest above it that is there."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())


def _gb(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
