"""DVC's site cache, a folder of this user's: `python -m pipeline.repro.site_cache` gives a project one.

DVC keeps pickled state there, by default in /var/tmp/dvc, which it opens to every user of the machine:
whoever puts a file there runs code as the user whose `dvc` reads it next.
"""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.errors import EspalierError
from pipeline.storage import node_cache

VARIABLE = "DVC_SITE_CACHE_DIR"
SITE_CACHE_SETTING = "core.site_cache_dir"
OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def site_cache() -> Path:
    return node_cache().absolute() / "dvc-site"


def use_site_cache() -> None:
    """Have DVC here, and below, keep its state in this user's folder, unless the variable names another.

    Raises EspalierError if that folder cannot be made, or is not this user's alone.
    """
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = str(make_private(site_cache()))


def configure(root: Path) -> None:
    """Set it for a `dvc` that a person starts: in .dvc/config.local, which git and `espalier submit` ignore.

    Raises EspalierError.
    """
    folder, local = make_private(site_cache()), root / ".dvc/config.local"
    if not local.exists():
        local.touch(0o600)  # `dvc remote modify --local` writes credentials into it
    words = [sys.executable, "-m", "dvc", "config", "--local", SITE_CACHE_SETTING, str(folder)]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or "no message").splitlines()[0]
        raise EspalierError(
            f"`dvc config --local {SITE_CACHE_SETTING}` fails ({said}); run this in the project's folder"
        )


def make_private(folder: Path) -> Path:
    """The folder, which from now on only this user may enter. Emptied if others could write there.

    Raises EspalierError if it cannot be made, belongs to another user, or another user could put one in its
    place.
    """
    try:
        for place in reversed([folder, *folder.parents]):
            if not place.is_dir():
                place.mkdir(0o700, exist_ok=True)
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and status.st_mode & OTHERS:
            folder.chmod(0o700)
            for path in folder.iterdir() if status.st_mode & OTHERS_WRITE else []:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        why = fault(folder) or (None if os.access(folder, os.W_OK | os.X_OK) else "it may not be written")
    except OSError as error:
        why = f"it cannot be made ({error.strerror or error})"
    if why:
        raise EspalierError(
            f"{folder}: {why}, so DVC cannot keep its state there; remove it, or set XDG_CACHE_HOME to a "
            "folder of your own"
        )
    return folder


def fault(folder: Path) -> str | None:
    """Why another user may write in a folder or put one in its place; None if nobody but root may."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return "it is no folder but a link or a file"
    if status.st_mode & OTHERS_WRITE:
        return f"others may write there (mode {stat.S_IMODE(status.st_mode):04o})"
    real = folder.resolve()
    ours = [
        folder,
        *folder.parents[:2],
    ]  # up to the folder of caches: who owns what lies above owns this user's home too
    for place in {*ours, *(path.resolve() for path in ours)}:
        if place.lstat().st_uid not in (0, os.geteuid()):
            return f"{place} belongs to another user (uid {place.lstat().st_uid})"
    for place in real.parents:
        if (mode := place.stat().st_mode) & stat.S_IWOTH and not mode & stat.S_ISVTX:
            return f"every user may write in {place} (mode {stat.S_IMODE(mode):04o})"
    return None


if __name__ == "__main__":
    try:
        configure(Path())
    except EspalierError as error:
        sys.exit(f"espalier: {error}")
