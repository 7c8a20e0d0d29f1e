"""The door to git: what a command prints, and what is said if it fails."""

from pathlib import Path

import pytest

from pipeline.errors import EspalierError
from pipeline.git import git, git_if_it_can


@pytest.fixture
def root(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    return tmp_path


def test_it_prints_as_git_does(root: Path) -> None:
    assert git(root, "rev-parse", "--is-inside-work-tree") == "true\n"
    assert git_if_it_can(root, "rev-parse", "--is-inside-work-tree") == "true\n"


def test_variables_reach_git(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert git(elsewhere, "rev-parse", "--git-dir", GIT_DIR=str(root / ".git")) == f"{root / '.git'}\n"


def test_what_git_says_is_told_without_secrets(root: Path) -> None:
    with pytest.raises(EspalierError, match=r"`git fetch` says: .*") as caught:
        git(root, "fetch", "file://me:secret@/nowhere")
    assert "secret" not in str(caught.value)
    assert git_if_it_can(root, "rev-parse", "--verify", "HEAD") is None


def test_a_machine_without_git_is_told_of(root: Path) -> None:
    with pytest.raises(EspalierError, match="git is not installed"):
        git(root, "status", PATH=str(root))
