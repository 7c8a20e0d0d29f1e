"""What `espalier doctor` says of what dead processes left."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from pipeline.doctor.finding import CheckResult
from pipeline.doctor.leftovers import dead_ray_folders, dvc_files, run_locks, scratch_folders
from pipeline.process.leftovers import scratch
from tests.support.doctor_samples import holding, says, until


def test_a_run_without_a_holder_is_resumable(tmp_path: Path) -> None:
    assert run_locks(tmp_path) == CheckResult("ok", "no run is unfinished")
    run = tmp_path / ".espalier" / "runs" / "train-1"
    run.mkdir(parents=True)
    (run / "driver.lock").touch()
    assert run_locks(tmp_path) == CheckResult("ok", "resumable: train-1")


def test_the_holder_of_a_lock_is_named(tmp_path: Path) -> None:
    run = tmp_path / ".espalier" / "runs" / "train-1"
    with holding(run / "driver.lock") as driver, holding(run / "writer.lock"):
        assert run_locks(tmp_path) == CheckResult("ok", f"running: train-1 (pid {driver.pid})")
    assert run_locks(tmp_path).text == "resumable: train-1"


def test_a_worker_without_a_driver_is_a_problem(tmp_path: Path) -> None:
    with holding(tmp_path / ".espalier/runs/train-1/writer.lock") as worker:
        says(
            run_locks(tmp_path),
            "train-1/writer.lock is held by pid",
            "whose driver is gone",
            f"`kill {worker.pid}`",
        )


def test_a_stopped_holder_is_a_problem(tmp_path: Path) -> None:
    with holding(tmp_path / ".espalier/runs/train-1/driver.lock") as driver:
        driver.send_signal(signal.SIGSTOP)
        until(lambda: psutil.Process(driver.pid).status() == psutil.STATUS_STOPPED)
        says(run_locks(tmp_path), f"pid {driver.pid}, which is stopped; `kill -CONT {driver.pid}`")


def rwlock(root: Path, *, write: int | None = None, read: int | None = None) -> Path:
    path = root / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = {pid: {"pid": pid, "cmd": "dvc repro"} for pid in (write, read) if pid is not None}
    lock = {
        "write": {"/a": entries[write]} if write is not None else {},
        "read": {"/b": [entries[read]]} if read is not None else {},
    }
    path.write_text(json.dumps(lock))
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    return path


def test_dvcs_lock_of_a_living_command_is_fine(tmp_path: Path) -> None:
    assert dvc_files(tmp_path).state == "ok"
    rwlock(tmp_path)
    assert dvc_files(tmp_path) == CheckResult("ok", "nothing is locked or cut off")
    rwlock(tmp_path, write=os.getpid())
    assert dvc_files(tmp_path) == CheckResult("ok", f"a dvc command runs: pid {os.getpid()}")


@pytest.mark.parametrize("mode", ["write", "read"])
def test_a_zombie_in_dvcs_lock_is_a_problem_and_who_is_gone_is_none(tmp_path: Path, mode: str) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        until(lambda: psutil.Process(dead.pid).status() == psutil.STATUS_ZOMBIE)
        rwlock(tmp_path, **{mode: dead.pid})
        says(
            dvc_files(tmp_path),
            f"pid {dead.pid}, a zombie",
            f"its parent, pid {os.getpid()}",
            "`espalier mend`",
        )
    assert dvc_files(tmp_path).state == "ok"


def test_a_pid_that_is_another_program_now_is_a_problem(tmp_path: Path) -> None:
    os.utime(rwlock(tmp_path, write=os.getpid()), (1e9, 1e9))
    says(dvc_files(tmp_path), "which is now another program", "`espalier mend`")


@pytest.mark.parametrize(
    "text", ["", '{"write": {"/a": {"pid"', "[]", '{"write": {"/a": {}}}', '{"read": {"/a": 1}}']
)
def test_a_damaged_lock_of_dvc_is_a_problem(tmp_path: Path, text: str) -> None:
    rwlock(tmp_path).write_text(text)
    says(dvc_files(tmp_path), ".dvc/tmp/rwlock is damaged", "`espalier mend`")


def test_temporary_files_of_killed_processes_are_counted(tmp_path: Path) -> None:
    places = tmp_path / "project", tmp_path / "elsewhere"
    places[1].mkdir()
    with scratch(places[0], "train") as own, scratch(places[0], "ray-01234567", places[1]) as rays:
        assert scratch_folders(*places).text == "none without an owner"
        assert dead_ray_folders(places[1], young_s=0) == CheckResult("ok", "1 of a Ray that runs")
        for number, folder in enumerate((own, rays)):
            shutil.copytree(folder, folder.with_name(f"ray-01234567-0000000{number}"))
    assert scratch_folders(*places).text == "2 of killed processes, which the next stage removes"
    says(dead_ray_folders(places[1]), "ray-01234567-00000001 is of a Ray that was killed")


def test_the_folder_of_a_dead_ray_is_a_problem(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ray-01234567-", dir=tmp_path))
    (tmp_path / "ray-of-sunshine").mkdir()
    assert dead_ray_folders(tmp_path).state == "ok"  # too young to tell
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)", f"--temp-dir={folder}"]
    ) as ray:
        until(lambda: str(folder) in " ".join(psutil.Process(ray.pid).cmdline()))
        assert dead_ray_folders(tmp_path, young_s=0).state == "ok"
        ray.kill()
    says(dead_ray_folders(tmp_path, young_s=0), f"`rm -r {folder}`")
    assert "sunshine" not in dead_ray_folders(tmp_path, young_s=0).text
