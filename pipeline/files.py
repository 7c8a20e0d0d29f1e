"""Writes that are complete or absent, and digests of content."""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import EspalierError, LockedError

LOCK_POLL_S = 0.1


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
    names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return sha256_json({name: sha256_file(path / name) for name in names})


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a value's canonical JSON: sorted keys, no spaces, NaN refused."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def to_json(value: Any) -> str:
    """Readable JSON that is the same for equal values: sorted keys, two spaces, a final newline."""
    return json.dumps(value, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace a file by `content`, all or nothing, and flush it to the disk.

    Raises EspalierError, and leaves the old file, where the disk is full or not writable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _sibling(path, "")
    # Made by open and not by mkstemp, whose files are 0600: the kernel then obeys the umask, in every thread.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _explained(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """A temporary sibling folder that takes the place of `path` when the block ends without an error.

    After an error, `path` is as it was and the sibling is gone. A killed process can leave a sibling
    `.<name>.partial-*` behind, never a half-written `path`; the next write clears it.
    Raises EspalierError where the disk is full or not writable.
    """
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
    except OSError as error:
        raise _explained(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def locked(path: Path, *, wait_s: float, what: str) -> Iterator[int]:
    """Hold an exclusive lock on a file among processes and threads; the kernel frees it when its holder dies.

    Yields the file's descriptor: a child that inherits it holds the lock too, for as long as it lives.
    Raises LockedError, saying `what` is in use, where another still holds it after `wait_s` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        deadline = time.monotonic() + wait_s
        while not _try_lock(file.fileno()):
            if time.monotonic() >= deadline:
                raise LockedError(f"{path}: {what} is in use by another process; wait for it to end, or stop it")
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


def _explained(error: OSError, path: Path) -> EspalierError:
    if error.errno == errno.ENOSPC:
        return EspalierError(f"{path}: the disk is full; nothing was replaced. Free some space and run the stage again")
    return EspalierError(f"{path}: cannot be written ({error.strerror or error}); nothing was replaced")
