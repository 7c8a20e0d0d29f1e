"""Where a submitted job starts on the cluster's head: what the head lacks is said before anything runs.

Until that is known, only the standard library may be imported: `python -m pipeline.jobs.start`.
"""

import importlib.metadata
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import EspalierError, SubmitError

PYTHON = (3, 11)


def main() -> None:
    try:
        check_node(Path(), sys.version_info[:3], os.environ)
        from pipeline.jobs.head import run  # which imports what was looked for

        sys.exit(run(Path()))
    except EspalierError as error:
        sys.exit(f"espalier job: {error}")


def check_node(root: Path, python: tuple[int, ...], environment: Mapping[str, str]) -> None:
    """Raises SubmitError that says what the head lacks of what the project at `root` needs."""
    if python < PYTHON:
        raise SubmitError(f"the head has Python {_dotted(python)}; all nodes need {_dotted(PYTHON)} or later")
    if missing := _missing(root / "pyproject.toml"):
        raise SubmitError(
            f"the head's Python ({sys.executable}) lacks {', '.join(missing)}; install requirements.txt there and on every node"
        )
    if not environment.get("MLFLOW_TRACKING_URI"):
        raise SubmitError(
            "MLFLOW_TRACKING_URI is not set on the head, so the runs would be lost with the job; set it where `ray start` runs"
        )


def _missing(project: Path) -> list[str]:
    """Packages that the project depends on and that are not installed here, in whatever version."""
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
    main()
