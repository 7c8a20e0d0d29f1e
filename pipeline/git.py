"""The door to git: one command in a folder, and what it says."""

import os
import subprocess
from pathlib import Path

from pipeline.errors import EspalierError, redacted


def git(root: Path, *words: str, **environment: str) -> str:
    """What a git command prints. environment: variables beside those of this process.

    Raises EspalierError with what git says, or if git is not installed.
    """
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=root,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError as error:
        raise EspalierError("git is not installed") from error
    except subprocess.CalledProcessError as error:
        raise EspalierError(f"`git {words[0]}` says: {redacted(' '.join(error.stderr.split()))}") from error
    return done.stdout


def git_if_it_can(root: Path, *words: str) -> str | None:
    """What a git command prints; None if it fails, as outside a repository or without a commit."""
    try:
        return git(root, *words)
    except EspalierError:
        return None
