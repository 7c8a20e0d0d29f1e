"""What a job is sent: the committed files with the changes to them that git sees.

Caches, data and secrets are not among them, because git ignores them.
"""

import os
import shutil
import subprocess
from pathlib import Path

from pipeline.errors import SubmitError

LARGEST_BYTES = 50_000_000
"""Of all files together: code and parameters. Data goes through the DVC remote."""
RESULTS = ":!dvc.lock"
"""Every run changes it; it is no change of a person's."""


def commit(root: Path) -> str:
    """Raises SubmitError where there is none."""
    try:
        return _git(root, "rev-parse", "--verify", "HEAD").strip()
    except subprocess.CalledProcessError as error:
        raise SubmitError(f"{root.absolute()} has no commit to submit; commit your work first") from error


def changes(root: Path) -> list[str]:
    """Files that differ from the commit or are new, as `git status --short` shows them."""
    return _git(root, "status", "--short", "--untracked-files=all", "--", ".", RESULTS).splitlines()


def copy_tree(root: Path, target: Path) -> None:
    """Copy the files that git tracks, and the new ones that it does not ignore, as they are now.

    Raises SubmitError where they are too many bytes, and for a link that leads out of the tree.
    """
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    files = sorted({name for name in listed if name and os.path.lexists(root / name)})
    inside = root.resolve()
    for name in files:
        if not (root / name).resolve().is_relative_to(inside):
            raise SubmitError(f"{name} is a link that leads out of the project; what it points to is not sent. Remove the link")
    size = sum((root / name).stat().st_size for name in files)
    if size > LARGEST_BYTES:
        largest = max(files, key=lambda name: (root / name).stat().st_size)
        raise SubmitError(
            f"the files to send are {size / 1e6:,.0f} MB, and {LARGEST_BYTES / 1e6:,.0f} MB are allowed; the largest is "
            f"{largest}. Track data with `dvc add`, or ignore it in .gitignore"
        )
    for name in files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, target / name)


def _git(root: Path, *words: str) -> str:
    try:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError as error:
        raise SubmitError("git is not installed; what is submitted is what git knows of") from error
