"""The project that points are made of, as it is and as a copy."""

import shutil
from pathlib import Path

import pytest

from pipeline.frontier.points import Project
from tests.support.frontier_samples import git
from tests.support.places import ROOT


@pytest.fixture(scope="module")
def project() -> Project:
    return Project(ROOT)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What decides a point, in a git repository."""
    for name in ("pipeline", "stages", "data/raw", "data/init", "data/teacher"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "cifar*"))
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvc/.gitignore", ".dvc/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "copy")
    return tmp_path
