"""Where a job starts on the cluster's head: what the head lacks is said before anything runs.

    python -m pipeline.jobs.start               # a submitted tree (head.py)
    python -m pipeline.jobs.start launch.json   # a training for a machine that is no node

Until that is known, only what Python 3.8 has may be imported, and be in this file.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import EXIT_NODE_INCOMPLETE, EspalierError, SubmitError

if TYPE_CHECKING:
    from collections.abc import Mapping

PYTHON = (3, 11)


def main(request: list[str]) -> None:
    try:
        check_node(Path(), sys.version_info[:3])
        if not request:
            check_tracking(os.environ)
    except SubmitError as error:
        sys.stderr.write(f"espalier job: {error}\n")
        sys.exit(EXIT_NODE_INCOMPLETE)
    (_train if request else _repro)(*request)


def check_node(root: Path, python: tuple[int, ...]) -> None:
    """Raises SubmitError that says what the head lacks of what the project at `root` needs."""
    if python < PYTHON:
        raise SubmitError(f"the head has Python {_dotted(python)}; all nodes need {_dotted(PYTHON)} or later")
    if missing := _missing(root / "pyproject.toml"):
        raise SubmitError(
            f"the head's Python ({sys.executable}) lacks {', '.join(missing)}; install requirements.txt "
            "there and on every node"
        )


def check_tracking(environment: Mapping[str, str]) -> None:
    """Raises SubmitError if the runs of a whole repro would go to the job's own folder."""
    if not environment.get("MLFLOW_TRACKING_URI"):
        raise SubmitError(
            "MLFLOW_TRACKING_URI is not set on the head, so the runs would be lost with the job; set it "
            "where `ray start` runs"
        )


def _repro() -> None:
    from pipeline.jobs.head import run_tree  # which imports what was looked for

    try:
        sys.exit(run_tree(Path()))
    except EspalierError as error:
        sys.exit(f"espalier job: {error}")


def _train(request: str) -> None:
    from pipeline.launch.driver import main as drive

    drive(Path(request), is_attached=True)


def _missing(project: Path) -> list[str]:
    """Packages that the project depends on and that are not installed here, in whatever version."""
    import tomllib  # of Python 3.11

    dependencies = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    names = [re.split(r"[^\w.-]", dependency, maxsplit=1)[0] for dependency in dependencies]
    return [name for name in names if not _is_installed(name)]


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


if __name__ == "__main__":
    main(sys.argv[1:])
