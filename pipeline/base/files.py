"""Writes that are complete or absent, and digests of content."""

import csv
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import DiskError, EspalierError, LockedError

LOCK_POLL_S = 0.1
ROOM_BYTES = 1 << 20
"""Tried before a long run: a full disk still takes an empty file or a short one."""
CURES = {
    errno.ENOSPC: ("the disk is full", "Free some space"),
    errno.EDQUOT: ("the quota of this user's disk space is used up", "Free some space"),
    errno.EROFS: (
        "cannot be written (Read-only file system)",
        "Mount it so that it can be written, or use another folder",
    ),
    errno.EACCES: (
        "cannot be used (Permission denied)",
        "Give this user the right to, or use another folder",
    ),
    errno.EPERM: (
        "cannot be used (Operation not permitted)",
        "Give this user the right to, or use another folder",
    ),
    errno.ENOTDIR: ("cannot be used (a part of this path is a file, not a folder)", "Move that file away"),
    errno.EISDIR: ("cannot be written (a folder is in its place)", "Move that folder away"),
    errno.ENAMETOOLONG: ("cannot be used (File name too long)", "Use a folder with a shorter path"),
    errno.EFBIG: ("cannot be written (File too large)", "Let larger files be written (`ulimit -f`)"),
    errno.EMFILE: ("cannot be opened (Too many open files)", "Let more be open at once (`ulimit -n`)"),
}
"""What an OSError means by its number, and the remedy; others are no fault of the disk or its rights."""


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(path: Path) -> str:
    """Hex SHA-256 of a file, or of the sorted relative names and digests of a folder's files."""
    if path.is_file():
        return sha256_file(path)
    if not path.is_dir():
        raise EspalierError(f"{path} does not exist, so it has no digest; run the stage that makes it first")
    names = sorted(
        p.relative_to(path).as_posix()
        for p in path.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    )
    return sha256_json({name: sha256_file(path / name) for name in names})


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a value's canonical JSON: sorted keys, no spaces, NaN refused."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def to_json(value: Any) -> str:
    """Readable JSON that is the same for equal values: sorted keys, two spaces, a final newline."""
    return json.dumps(value, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def csv_text(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table that csv.reader reads back as it was, the same text for the same rows.

    Python 3.11 quotes a carriage return only in rows that end in one, so rows are written that way and then
    end in a line feed.
    """
    lines: list[str] = []
    writer = csv.writer(_Lines(lines), lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


class _Lines:
    """A file of which csv.writer writes a row at a time."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace a file by `content`, all or nothing, and flush it to the disk.

    Raises DiskError, and leaves the old file, if the disk is full or not writable.
    """
    with may_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _sibling(path, "")
        # Made by open and not by mkstemp, whose files are 0600: the kernel then obeys the umask, in every
        # thread.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """A temporary sibling folder that takes the place of `path` when the block ends without an error.

    After an error, `path` is as it was and the sibling is gone. A killed process can leave a sibling
    `.<name>.partial-*` behind, never a half-written `path`; the next write clears it. Raises DiskError if the
    disk is full or not writable.
    """
    with may_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in path.parent.glob(f".{path.name}.partial-*"):
            shutil.rmtree(stale)
        temporary = _sibling(path, "partial-")
        temporary.mkdir()
        mode = temporary.stat().st_mode  # the umask's; a folder that is copied over this one brings its own
        try:
            yield temporary
            temporary.chmod(mode)
            _sync_tree(temporary)
            _swap(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def locked(path: Path, *, wait_s: float, what: str) -> Iterator[int]:
    """Hold an exclusive lock on a file among processes and threads; the kernel frees it when its holder dies.

    Yields the file's descriptor: a child that inherits it holds the lock too, for as long as it lives. Raises
    LockedError, saying `what` is in use, if another still holds it after `wait_s` seconds; DiskError if the
    disk is full or not writable.
    """
    with may_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("a")
    with opened as file:
        deadline = time.monotonic() + wait_s
        while not _try_lock(file.fileno()):
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"{path}: {what} is in use by another process; wait for it to end, or stop it"
                )
            time.sleep(LOCK_POLL_S)
        yield file.fileno()


def _sibling(path: Path, kind: str) -> Path:
    """A new name beside `path`."""
    return path.with_name(f".{path.name}.{kind}{secrets.token_hex(8)}")


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _swap(new: Path, path: Path) -> None:
    """Rename `new` to `path`; an old folder steps aside first, because rename cannot replace a full one."""
    old = path.parent / f".{path.name}.partial-old"
    if path.exists():
        path.rename(old)
    new.rename(path)
    _sync_folder(path.parent)
    if old.exists():
        shutil.rmtree(old)


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_fault(error: OSError, path: Path | str | None = None) -> DiskError | None:
    """Remedy if a disk or its rights keep a file away; None for errors of other kinds.

    path: of the file; else the error's own, or, as an error of a write has none, this folder and the one for
    temporary files.
    """
    if error.errno not in CURES:
        return None
    what, cure = CURES[error.errno]
    place = path or error.filename or f"{Path.cwd()} or {tempfile.gettempdir()}"
    return DiskError(f"{place}: {what}; nothing was replaced. {cure} and run it again")


@contextmanager
def may_write(path: Path) -> Iterator[None]:
    """Raises DiskError for an OSError that keeps a file out of `path`, EspalierError if no cure is known."""
    try:
        yield
    except OSError as error:
        unknown = EspalierError(
            f"{path}: cannot be written ({error.strerror or error}); nothing was replaced"
        )
        raise (disk_fault(error, path) or unknown) from error


def check_room(folder: Path) -> None:
    """Raises DiskError if the folder cannot take a file of ROOM_BYTES."""
    probe = _sibling(folder / "probe", "")
    with may_write(folder):
        try:
            probe.write_bytes(secrets.token_bytes(ROOM_BYTES))
        finally:
            probe.unlink(missing_ok=True)
