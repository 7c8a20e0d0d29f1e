"""What `espalier doctor` says of versions, files, folders and of what dead processes left."""

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
from pipeline.doctor.folders import dvc_cache, folders, shared_memory, socket_paths
from pipeline.doctor.leftovers import dead_ray_folders, dvc_files, run_locks, scratch_folders
from pipeline.doctor.project import params, secrets, stages
from pipeline.doctor.versions import packages, python
from pipeline.errors import EspalierError, ParamsError
from pipeline.process.leftovers import scratch
from tests.support.doctor_samples import holding, says, until
from tests.support.places import ROOT

REFUSING = Path("/sys/kernel")
"""A folder in which nobody can make a file, root neither."""
VERSIONS = {"ray": "2.60.0", "mlflow": "3.17.2", "pyarrow": "25.0.1", "torch": "2.14.1"}


@pytest.fixture
def pinned(tmp_path: Path) -> Path:
    """A project that needs and pins a few packages."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["ray[train]>=2.54", "torch>=2.11"]\n'
    )
    pins = [f"{name}=={version}" for name, version in VERSIONS.items()]
    (tmp_path / "requirements.txt").write_text(
        "\n".join([*pins, "pywin32==312 ; sys_platform == 'win32'", "mypy==2.4.1"])
    )
    return tmp_path


def test_an_old_python_is_a_problem() -> None:
    assert python().state == "ok"
    says(python((3, 10, 4)), "Python 3.10.4, but 3.11 or later is needed")


def test_pinned_packages_are_fine(pinned: Path) -> None:
    assert packages(pinned, VERSIONS.get) == CheckResult("ok", "4 packages as requirements.txt pins them")
    assert packages(pinned, (VERSIONS | {"torch": "2.14.1+cpu"}).get).state == "ok"


@pytest.mark.parametrize(("name", "old"), [("ray", "2.53.0"), ("mlflow", "3.10.9"), ("pyarrow", "23.0.0")])
def test_a_version_with_security_holes_is_named(pinned: Path, name: str, old: str) -> None:
    says(
        packages(pinned, (VERSIONS | {name: old}).get),
        f"{name} {old} has known security holes",
        "`make setup`",
    )


def test_other_and_missing_packages_are_named(pinned: Path) -> None:
    says(
        packages(pinned, (VERSIONS | {"torch": "2.13.0"}).get),
        "in brackets: torch 2.13.0 (2.14.1); `make setup`",
    )
    without = {name: version for name, version in VERSIONS.items() if name != "torch"}
    says(packages(pinned, without.get), "not installed: torch; `make setup`")


def test_many_differences_are_few_lines(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\ndependencies = []\n")
    (tmp_path / "requirements.txt").write_text("\n".join(f"package{i}==2" for i in range(9)))
    verdict = packages(tmp_path, lambda name: "1" if name.startswith("package") else None)
    says(verdict, "package4 1 (2) and 4 more")
    assert len(verdict.text.splitlines()) == 1


def test_wrong_params_are_told(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text)
    assert params(tmp_path).state == "ok"
    (tmp_path / "params.yaml").write_text(text.replace("epochs: 14", "epocs: 14"))
    with pytest.raises(ParamsError, match="did you mean 'epochs'"):
        params(tmp_path)


def test_a_dvc_yaml_that_cannot_run_is_told(tmp_path: Path) -> None:
    assert stages(ROOT).state == "ok"
    for text, words in [
        ("stages: {}", "no stages"),
        ("stages: {train: {deps: [a]}}", "stage 'train' has no cmd"),
    ]:
        (tmp_path / "dvc.yaml").write_text(text)
        says(stages(tmp_path), words)
    (tmp_path / "dvc.yaml").write_text("stages: {a: 1\n")
    with pytest.raises(ParamsError, match=r"dvc\.yaml"):
        stages(tmp_path)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        (".dvc/config", "    secret_access_key = hunter2"),
        (".dvc/config", "password=hunter2"),
        (".dvc/config", "    # token = hunter2"),
        (".dvc/config", "    url = https://me:hunter2@example.org/dvc"),
        (".dvc/config", "    url = https://hunter2@example.org/dvc"),
        (".dvc/config", "    url = ssh://me:hunter2@example.org/dvc"),
        ("params.yaml", "  storage: s3://me:hunter2@bucket/prefix"),
    ],
)
def test_a_committed_secret_is_a_problem_and_not_shown(tmp_path: Path, file: str, line: str) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / file).write_text(f"# first\n{line}\n")
    verdict = secrets(tmp_path)
    says(verdict, f"{file}, line 2", "replace the secret")
    assert "hunter2" not in verdict.text


@pytest.mark.parametrize(
    "line",
    [
        "ask_password = true",
        "url = ssh://me@host/dvc",
        "url = s3://bucket/dvc",
        "keyfile = /home/me/key",
        "password =",
    ],
)
def test_what_is_no_secret_is_none(tmp_path: Path, line: str) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(f"['remote \"a\"']\n    {line}\n")
    assert secrets(tmp_path).state == "ok"


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert folders([tmp_path, tmp_path / "to" / "come"], 0).state == "ok"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    says(folders([tmp_path, REFUSING], 0), f"{REFUSING} cannot be written")
    says(folders([tmp_path / "file" / "below"], 0), "cannot be written (Not a directory)")


def test_a_full_disk_is_a_problem(tmp_path: Path) -> None:
    says(folders([tmp_path], 10**18), "free, less than 1,000,000,000.0 GB; free some space")
    says(shared_memory(tmp_path, 10**18), "start the container with --shm-size=2g")
    assert shared_memory(tmp_path, 0).state == "ok"
    assert shared_memory(tmp_path / "none").state == "skipped"


def test_the_cache_of_a_folder_without_dvc_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EspalierError, match=r"`dvc cache dir` fails .*; run this in the project's folder"):
        dvc_cache(tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[cache]\n    dir = ../elsewhere\n")
    assert dvc_cache(tmp_path) == tmp_path / "elsewhere"


def test_a_long_path_for_sockets_is_a_problem() -> None:
    """With 20 bytes Ray 2.60 started and had sockets of 105, with a pid of four digits; with 24
    it refused.
    """
    assert socket_paths(Path("/tmp")).state == "ok"
    assert socket_paths(Path("/" + "x" * 18)).state == "ok"
    says(socket_paths(Path("/" + "x" * 19)), "has 20 bytes and may have 19", "set TMPDIR")
    says(socket_paths(Path("/" + "ä" * 10)), "has 21 bytes")


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
