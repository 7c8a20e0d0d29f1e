"""Commands run as a document prints them, in a project that looks as `make setup` leaves one."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.support.documents import words
from tests.support.project import Done, Project

BROUGHT = Path("data/init")
REPLACING = ("espalier preset", "espalier weights")
"""What replaces inputs of a line, which is put back, so that the commands after it find the line finished."""


def as_installed(root: Path) -> None:
    """The environment that `make` would fill with packages, and the images that README classifies."""
    (root / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != "ready":  # by which `make` sees that nothing is to be installed
            (root / ".venv" / part.name).symlink_to(part)
    (root / ".venv/ready").touch()
    np.save(root / "images.npy", np.zeros((2, 1, 8, 8), np.uint8))


def run_printed(project: Project, command: str) -> Done:
    if not command.startswith(REPLACING):
        return project.run(*words(command))
    with _put_back(project.root):
        if command.startswith("espalier preset"):  # it would keep what was edited
            shutil.copy(project.root / "presets/digits.yaml", project.root / "params.yaml")
        return project.run(*words(command))


@contextmanager
def _put_back(root: Path) -> Iterator[None]:
    params, brought = (root / "params.yaml").read_bytes(), root.parent / "brought"
    shutil.copytree(root / BROUGHT, brought)
    try:
        yield
    finally:
        (root / "params.yaml").write_bytes(params)
        shutil.rmtree(root / BROUGHT)
        brought.rename(root / BROUGHT)
