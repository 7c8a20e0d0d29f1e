"""Locks that name their holder, and folders of temporary files that outlive nobody: real processes hold and
are killed.
"""

import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.base.stage import KEY_DIGITS, Stage
from pipeline.errors import DiskError, LockedError
from pipeline.frontier.workshop import clear_killed
from pipeline.process.leftovers import (
    NUM_RUNS_KEPT,
    OWNER_LOCK,
    SCRATCH,
    at_work,
    dead_folders,
    holder,
    is_held,
    only,
    scratch,
    users_temporary_folder,
)
from tests.support.places import ROOT

DVC_YAML = "stages:\n  train: {cmd: x, outs: [artifacts/dense, reports/history.csv]}\n"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text("{}\n")
    return Stage("train", tmp_path)


@contextmanager
def another(code: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process that runs code and then waits; killed with the block."""
    ready = f"{textwrap.dedent(code)}\nprint('ready', flush=True)\nimport time\ntime.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", ready], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def scratch_of(root: Path, place: Path | None = None) -> str:
    return f"""
        from pathlib import Path
        from pipeline.process.leftovers import scratch
        made = scratch(Path({str(root)!r}), "ray-x", {f"Path({str(place)!r})" if place else None})
        (made.__enter__() / "model").write_text("much")
    """


def test_a_second_one_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "train.lock"
    code = f"""
        from pathlib import Path
        from pipeline.process.leftovers import only
        held = only(Path({str(path)!r}), what="stage train", wait_s=0)
        held.__enter__()
    """
    with another(code) as first:
        said = (
            rf"stage train is at work in process {first.pid} on \S+, since 20\d\d-.*; wait for it to "
            r"end, "
            r"or stop it"
        )
        with pytest.raises(LockedError, match=said), only(path, what="stage train", wait_s=0):
            pass
    with only(path, what="stage train", wait_s=0):
        assert f"process {os.getpid()} on" in holder(path)
    assert not is_held(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "host": "x", "started": "now"}'])
def test_a_holder_that_has_not_said_its_name_yet_is_another_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(text)
    assert holder(tmp_path / "lock") == "another process"


def test_what_fails_while_it_holds_is_not_taken_for_the_lock(tmp_path: Path) -> None:
    with pytest.raises(LockedError, match="something else"), only(tmp_path / "lock", what="it", wait_s=0):
        raise LockedError("something else")


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_next_one_removes_what_the_killed_left_and_nobody_elses(tmp_path: Path, elsewhere: bool) -> None:
    root, place = tmp_path / "project", tmp_path / "tmp" if elsewhere else None
    other = tmp_path / "tmp" / "of-others"
    other.mkdir(parents=True)
    with another(scratch_of(root, place)):
        with scratch(root, "next", place) as folder:
            assert len(list(folder.parent.glob("*-*/"))) == 2 + elsewhere, "who lives keeps its folder"
        assert dead_folders(root, tmp_path / "tmp") == []
    (left,) = dead_folders(root, tmp_path / "tmp")
    assert (left / "model").exists()
    with scratch(tmp_path / "another project", "next", place):
        assert left.exists(), "another project's are not ours to remove"
    with scratch(root, "next", place) as folder:
        assert not left.exists()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    assert other.exists()


def test_a_folder_whose_maker_was_killed_before_it_had_an_owner_is_removed_too(tmp_path: Path) -> None:
    with scratch(tmp_path, "one") as folder:
        bare = folder.with_name("two-12345678")
        bare.mkdir()
        with scratch(tmp_path, "three"):
            assert folder.exists()
            assert not bare.exists()


def test_a_stranger_cannot_have_a_folder_removed_by_naming_our_project(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.mkdir()
    (target / OWNER_LOCK).write_text(str(tmp_path / "other project"))
    with scratch(tmp_path / "project", "ray-x", tmp_path):
        assert target.exists()


def test_a_place_that_takes_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / ".espalier").write_text("a file in the way")
    with (
        pytest.raises(DiskError, match=r"\.espalier/tmp.*a part of this path is a file"),
        scratch(tmp_path, "x"),
    ):
        pass


def test_a_stage_at_work_has_its_temporary_files_in_the_project(stage: Stage) -> None:
    before = tempfile.gettempdir()
    with at_work(stage):
        with tempfile.TemporaryDirectory() as name:
            assert Path(name).is_relative_to(stage.root / ".espalier/tmp")
        assert str(users_temporary_folder()) == before
        (left,) = [path for path in (stage.root / ".espalier/tmp").iterdir() if path.is_dir()]
        Path(tempfile.mkstemp()[1]).write_text("left lying")
    assert tempfile.gettempdir() == before
    assert not left.exists()


def test_a_stage_at_work_starts_without_what_killed_ones_left_beside_its_outs(stage: Stage) -> None:
    artifacts, reports = stage.root / "artifacts", stage.root / "reports"
    half = artifacts / ".dense.partial-abc"
    half.mkdir(parents=True)
    (half / "weights").touch()
    reports.mkdir()
    (reports / ".history.csv.x1y2").touch()
    (reports / ".gitignore").touch()
    with at_work(stage):
        assert list(artifacts.iterdir()) == []
        assert [path.name for path in reports.iterdir()] == [".gitignore"]


def test_what_a_library_left_of_a_copy_when_its_stage_was_killed_goes_with_the_next(stage: Stage) -> None:
    """As a model in the middle of being registered: no code of ours names that folder."""
    code = f"""
        import tempfile
        from pathlib import Path
        from pipeline.process.leftovers import at_work
        from pipeline.base.stage import Stage
        held = at_work(Stage("train", Path({str(stage.root)!r})))
        held.__enter__()
        folder = tempfile.mkdtemp()
        Path(folder, "weights").write_text("half of a model")
    """
    with another(code):
        (left,) = (stage.root / SCRATCH).rglob("weights")
    with at_work(stage):
        assert not left.exists()
    assert [path for path in (stage.root / SCRATCH).iterdir() if path.is_dir()] == []


def test_of_killed_sweeps_the_newest_points_stay_and_those_that_are_wanted(tmp_path: Path) -> None:
    folder = tmp_path / ".espalier" / "frontier"
    for number in range(NUM_RUNS_KEPT + 3):
        (folder / f"point-{number}").mkdir(parents=True)
        os.utime(folder / f"point-{number}", (number, number))
    with only(folder / "point-1.lock", what="a point", wait_s=0):
        clear_killed(tmp_path, {"point-0"})
    kept = {"point-0", "point-1", *(f"point-{number}" for number in range(3, NUM_RUNS_KEPT + 3))}
    assert {path.name for path in folder.iterdir() if path.is_dir()} == kept


def test_of_unfinished_runs_with_other_inputs_the_newest_stay(stage: Stage) -> None:
    runs = stage.run_dir.parent
    folders = [runs / f"train-{number:0{KEY_DIGITS}x}" for number in range(NUM_RUNS_KEPT + 2)]
    for number, folder in enumerate([stage.run_dir, runs / "train-by-hand", *folders]):
        folder.mkdir(parents=True)
        os.utime(folder, (number, number))
    with only(folders[0] / "driver.lock", what="a run", wait_s=0):
        os.utime(folders[0], (2, 2))
        with at_work(stage):
            left = {path.name for path in runs.iterdir()}
    kept = [stage.run_dir, runs / "train-by-hand", folders[0], *folders[2:]]
    assert left == {folder.name for folder in kept}
