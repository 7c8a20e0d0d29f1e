"""A folder in which a point is made: the tree as it is, kept checkpoints, and why a stage failed."""

from pathlib import Path

import pytest

from pipeline.base.yaml_file import read_yaml
from pipeline.errors import EspalierError
from pipeline.frontier.points import Project, points
from pipeline.frontier.workshop import PointWorkspace, override, reason
from pipeline.repro import machine_lock
from tests.support.frontier_samples import read_raw_data
from tests.support.places import ROOT


def test_an_override_leaves_the_rest_of_the_file_as_it_is(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text)
    override(tmp_path / "params.yaml", {"prune.max_ratio": 0.55, "train.optimizer.lr": 0.3})
    changed = zip(text.splitlines(), (tmp_path / "params.yaml").read_text().splitlines(), strict=True)
    assert [new.split("#")[0].split(",")[0].strip() for old, new in changed if new != old] == [
        "optimizer: {name: sgd",
        "max_ratio: 0.55",
    ]
    assert read_yaml(tmp_path / "params.yaml")["train"]["patience"] is None


def test_a_folder_gets_the_tree_as_it_is_and_keeps_its_checkpoints(copy: Path) -> None:
    read_raw_data(copy)
    (copy / "data/raw/table.parquet").write_text("ignored by git")
    (copy / "pipeline/new.py").write_text("x = 1\n")
    project = Project(copy)
    workspace = PointWorkspace(project, points(project, {"prune.max_ratio": [0.5]})[0], copy / ".dvc/cache")
    for name in (".espalier/runs/finetune-1/newest", "artifacts/pruned/left.txt"):
        (workspace.folder / name).parent.mkdir(parents=True)
        (workspace.folder / name).write_text("by a killed stage")
    workspace.prepare()
    assert (workspace.folder / ".espalier/runs/finetune-1/newest").exists()
    assert not (workspace.folder / "artifacts").exists()
    assert (workspace.folder / "data/raw/table.parquet").read_text() == "ignored by git"
    assert (workspace.folder / "pipeline/new.py").exists()
    assert read_yaml(workspace.folder / "params.yaml")["prune"]["max_ratio"] == 0.5
    assert str(copy / ".dvc/cache") in (workspace.folder / ".dvc/config.local").read_text()
    assert (workspace.folder / machine_lock.LOCKS_FOLDER).resolve() == copy / machine_lock.LOCKS_FOLDER, (
        "points are timed one by one"
    )
    (copy / "pipeline/quantize/quantize.py").write_text("# edited\n")
    with pytest.raises(EspalierError, match="changed while the sweep ran"):
        workspace.prepare()


def test_what_is_left_of_a_point_goes_and_its_journals_come(copy: Path) -> None:
    project = Project(copy)
    workspace = PointWorkspace(project, points(project, {"prune.max_ratio": [0.5]})[0], copy / ".dvc/cache")
    for name in ("finetune-1.jsonl", "finetune-1.run.json"):
        (workspace.folder / ".espalier/journals" / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace.folder / ".espalier/journals" / name).write_text("{}\n")
    (copy / machine_lock.LOCKS_FOLDER).mkdir()
    (workspace.folder / machine_lock.LOCKS_FOLDER).symlink_to(copy / machine_lock.LOCKS_FOLDER)
    for _ in range(2):  # also where a kill came after half of it
        workspace.clear()
        assert (copy / machine_lock.LOCKS_FOLDER).exists()
        assert {path.name for path in (copy / ".espalier/journals").iterdir()} == {
            "finetune-1.jsonl",
            "finetune-1.run.json",
        }
        assert not workspace.folder.exists()


@pytest.mark.parametrize(
    ("log", "says"),
    [
        (
            "espalier prune: 3 events wait\nespalier finetune: 3 more attempts\nespalier finetune: gave up\n"
            "ERROR: failed to reproduce 'finetune': exited with 1\nespalier prune: 2 events wait\n",
            "espalier finetune: gave up",
        ),
        ("ERROR: failed to reproduce 'prune': killed\n", "ERROR: failed to reproduce 'prune': killed"),
        ("", "`dvc repro` failed"),
    ],
)
def test_the_reason_is_what_the_failed_stage_said_last(log: str, says: str) -> None:
    assert reason(log) == says
