"""What a job is sent: the committed files with the changes to them that git sees.

Caches, data and secrets are not among them, because git ignores them.
"""

import os
import shutil
from pathlib import Path

from pipeline.errors import EspalierError, SubmitError
from pipeline.git import git

LARGEST_BYTES = 50_000_000
"""Size of all files together: code and parameters. Data goes through the DVC remote."""
WITHOUT_RESULTS = ":!dvc.lock"
"""Every run changes it; it is no change of a person's."""
PRIVATE = (":!.dvc/config.local", ":!.dvc/cache", ":!.dvc/tmp", ":!.espalier")
"""Never sent, whatever .gitignore says: credentials, caches and runs."""


def commit(root: Path) -> str:
    """Raises SubmitError if there is none."""
    _git(root, "rev-parse", "--git-dir")
    try:
        return _git(root, "rev-parse", "--verify", "HEAD").strip()
    except SubmitError as error:
        raise SubmitError(f"{root.absolute()} has no commit to submit; commit your work first") from error


def changes(root: Path) -> list[str]:
    """Files that differ from the commit or are new, as `git status --short` shows them."""
    return _git(
        root, "status", "--short", "--untracked-files=all", "--", ".", WITHOUT_RESULTS, *PRIVATE
    ).splitlines()


def copy_tree(root: Path, target: Path, *, largest_bytes: int = LARGEST_BYTES) -> None:
    """Copy the files that git tracks, and the new ones that it does not ignore, as they are now.

    Raises SubmitError if they are too many bytes, and for a link to what is not sent itself.
    """
    files = _listed(root)
    real = Path(os.path.realpath(root))
    sent = {real / name for name in files if not (root / name).is_symlink()}
    for name in files:
        _check_file(root / name, name, sent)
    size = sum((root / name).stat().st_size for name in files)
    if size > largest_bytes:
        largest = max(files, key=lambda name: (root / name).stat().st_size)
        raise SubmitError(
            f"the files to send are {size / 1e6:,.0f} MB, and {largest_bytes / 1e6:,.0f} MB are allowed; the "
            f"largest is {largest}. Track data with `dvc add`, or ignore it in .gitignore"
        )
    for name in files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, target / name)


def _listed(root: Path) -> list[str]:
    """Files that are there: git also lists what was deleted since the commit."""
    names = _git(
        root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".", *PRIVATE
    ).split("\0")
    return sorted({name for name in names if name and os.path.lexists(root / name)})


def _check_file(path: Path, name: str, sent: set[Path]) -> None:
    """A link goes as the file that it leads to, which must be sent itself: git may ignore it."""
    if path.is_symlink() and Path(os.path.realpath(path)) not in sent:
        raise SubmitError(
            f"{name} is a link to {path.readlink()}, which is not among the files to send; remove the link"
        )
    if path.is_dir():
        raise SubmitError(
            f"{name} is a git repository of its own, whose files are not sent; remove it or ignore it in "
            ".gitignore"
        )


def _git(root: Path, *words: str) -> str:
    """Raises SubmitError if git fails."""
    try:
        return git(root, *words)
    except EspalierError as error:
        raise SubmitError(f"what is submitted is what git knows of, and {error}") from error
