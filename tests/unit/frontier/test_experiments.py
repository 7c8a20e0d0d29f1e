"""A made point becomes an experiment of DVC."""

import shutil
from pathlib import Path

from pipeline.frontier.experiments import head, names, save
from tests.support.frontier_samples import git


def test_an_experiment_holds_the_folder_and_leaves_the_index_alone(copy: Path) -> None:
    folder = copy / ".espalier/frontier/frontier-1"
    shutil.copytree(copy, folder, ignore=shutil.ignore_patterns(".git", ".espalier"))
    (folder / "dvc.lock").write_text("schema: '2.0'\n")
    (folder / "data/prepared").mkdir()
    (folder / "data/prepared/shard").write_text("ignored")
    (copy / "staged.txt").write_text("mine")
    git(copy, "add", "staged.txt")
    commit = head(copy)
    save(copy, folder, commit, "frontier-1", "message")
    assert names(copy, commit) == {"frontier-1"}
    made = f"refs/exps/{commit[:2]}/{commit[2:]}/frontier-1"
    assert git(copy, "diff", "--name-status", commit, made).split() == ["A", "dvc.lock"]
    assert git(copy, "rev-parse", f"{made}^").strip() == commit
    assert git(copy, "status", "--short").split() == ["A", "staged.txt"]
