"""One `dvc repro` makes everything, a second makes nothing, and what changed decides what runs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.base.stage import Stage
from pipeline.tracking.records import stage_names
from tests.e2e.conftest import Line
from tests.support.pickles import pickles
from tests.support.project import MADE, Project, copied_project, open_to_others, running_stages

VARIANTS = ("dense", "pruned", "finetuned", "quantized")
TIMED = {"reports/seal.json", *(f"reports/{variant}/latency.json" for variant in VARIANTS)}
"""The only outs that differ between two runs before `register`: they hold measured times, and the digests of
these."""
SERVE = """
import mlflow, numpy
model = mlflow.pyfunc.load_model("models:/digits@champion")
print(list(model.predict(numpy.zeros((2, 1, 8, 8), numpy.uint8)).columns))
"""


def outs(lock: dict[str, Any]) -> dict[str, str]:
    return {out["path"]: out["md5"] for stage in lock.values() for out in stage.get("outs", [])}


def test_another_folder_two_nodes_and_stages_side_by_side_give_the_same_bytes(
    again: Line, complete: Project
) -> None:
    assert again.nodes == 2, "a worker trained on each of the two nodes"
    assert "up to date" in again.project.run("dvc", "status", "compare", "--with-deps").expect_success().out
    known = again.project.lock()
    assert [name for name in complete.lock() if name in known] == list(known)
    first, second = outs(complete.lock()), outs(again.project.lock())
    shared = set(first) & set(second)
    assert {
        "data/prepared",
        "artifacts/dense",
        "artifacts/finetuned",
        "artifacts/quantized",
        "exported/finetuned",
        "exported/quantized",
        "reports/quantized/lost",
    } <= shared
    assert {path for path in shared if first[path] != second[path]} <= TIMED
    weights = ("data/prepared", "artifacts")
    assert complete.digests(*weights) == again.project.digests(*weights)


def test_no_other_user_can_write_or_reads_what_a_umask_of_077_hides(again: Line, first_line: Line) -> None:
    """All that we and our tools made, and what lay in temporary folders meanwhile."""
    complete, hidden = first_line.project.root, again.project.root
    assert open_to_others(complete, 0o022) == set()
    assert {path.relative_to(hidden).parts[0] for path in made(hidden)} >= {
        ".dvc",
        ".espalier",
        "artifacts",
        "dvc.lock",
    }
    assert open_to_others(hidden, 0o077) & made(hidden) == set()
    assert first_line.exposed + again.exposed == []


def made(root: Path) -> set[Path]:
    """What lies in a project and was not copied there before its commands ran."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=root, check=True, capture_output=True, text=True
    ).stdout.split()
    copied = {root / ".git", *(root / name for name in listed)}
    around = {folder for path in copied for folder in path.parents}
    return {path for path in root.rglob("*") if root / ".git" not in path.parents} - copied - around


def test_every_declared_out_is_there_and_the_table_ends_the_line(complete: Project) -> None:
    paths = outs(complete.lock())
    assert set(paths) == {
        path for name in stage_names(complete.root) for path in Stage(name, complete.root).outs
    }
    assert [path for path in paths if not (complete.root / path).exists()] == []
    text = complete.run(sys.executable, "-m", "pipeline.cli", "summary").expect_success().out
    for variant in VARIANTS:
        assert f"\n{variant}" in text
    assert "Registered as models:/digits (3 versions)" in text
    assert "@candidate, @champion" in text


def test_the_champion_serves_without_our_package(complete: Project) -> None:
    database = f"sqlite:///{complete.root}/.espalier/mlflow/mlflow.db"
    command = complete.run(
        sys.executable,
        "-P",
        "-c",
        SERVE,
        MLFLOW_TRACKING_URI=database,
        MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false",
    )
    assert command.expect_success().out.strip() == "['label', 'class_index', 'probability']"


def test_nothing_that_a_repro_leaves_is_a_pickle(complete: Project) -> None:
    folders = ["data/prepared", *(name for name in MADE if not name.startswith(".dvc"))]
    assert [found for name in folders for found in pickles(complete.root / name)] == []
    assert list((complete.root / ".espalier").rglob("MLmodel")), "the registered models are among them"


def test_a_second_repro_runs_nothing(complete: Project) -> None:
    assert running_stages(complete.run("dvc", "repro").expect_success().out) == []
    assert "up to date" in complete.run("dvc", "status").expect_success().out


@pytest.fixture
def copy(complete: Project, tmp_path: Path) -> Any:
    with copied_project(complete, tmp_path) as project:
        yield project


def would_run(project: Project) -> list[str]:
    return running_stages(project.run("dvc", "repro", "--dry").expect_success().out)


def test_a_change_of_resources_reruns_nothing(copy: Project) -> None:
    copy.change_params({"resources": {"workers": 1, "max_failures": 1}})
    assert would_run(copy) == []


def test_an_edit_under_compress_reruns_what_imports_it_and_not_the_training(copy: Project) -> None:
    """DVC goes on to what follows only where the stage's outs then differ, which a comment does not bring
    about.
    """
    source = copy.root / "pipeline/prune/channels/search.py"
    source.write_text(source.read_text() + "# edited\n")
    assert would_run(copy) == ["profile", "prune"]
    source = copy.root / "pipeline/export/onnx.py"
    source.write_text(source.read_text() + "# edited\n")
    assert set(would_run(copy)) == {
        "profile",
        "prune",
        "quantize",
        *(f"evaluate@{variant}" for variant in VARIANTS),
    }


def test_after_a_failure_the_last_good_outs_come_back(copy: Project) -> None:
    before = copy.digests("artifacts/quantized")
    copy.change_params({"quantize": {"calibration_images": 1}})  # one image cannot hold every class
    failed = copy.run("dvc", "repro", "quantize")
    assert failed.status != 0
    assert "Traceback" not in failed.err
    copy.run("dvc", "checkout", "--quiet")
    assert copy.digests("artifacts/quantized") == before


def test_the_declared_state_is_what_is_ignored_by_git(complete: Project) -> None:
    """A repro leaves nothing for git but dvc.lock."""
    status = complete.run("git", "status", "--porcelain").expect_success().out.split()
    assert set(status[1::2]) <= {"dvc.lock", "params.yaml"}, status
    assert set(MADE) >= {"artifacts", "reports"}
    assert yaml.safe_load((complete.root / "dvc.lock").read_text())["schema"] == "2.0"
