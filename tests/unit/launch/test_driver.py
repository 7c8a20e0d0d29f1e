"""What the stage does with the ends of the process that drives Ray, without starting one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import DiskError, EspalierError, LockedError, TrainingError
from pipeline.launch.driver import EXIT_INTERNAL, launch
from pipeline.launch.ray_cluster import LaunchRequest
from pipeline.train.job import Job
from pipeline.train.loop import fit
from pipeline.train.transport.driver import PROGRESS, run_storage, send, signs_of_life, user_error_path
from tests.support.fit_samples import changed_job, job, prepared_digits
from tests.support.launch_samples import resources
from tests.support.places import ROOT


@pytest.fixture
def the_job(tmp_path: Path) -> Job:
    (tmp_path / "run").mkdir()
    return job(prepared_digits(tmp_path), tmp_path / "run")


class Ends:
    """Attempts that end so, one after the other. told: what they were told, as they come."""

    def __init__(self, *statuses: int) -> None:
        self._left = list(statuses)
        self.told: list[LaunchRequest] = []

    def __call__(self, request: LaunchRequest) -> int:
        self.told.append(request)
        return self._left.pop(0)


def test_a_driver_that_died_is_started_again_with_the_same_order(
    the_job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = Ends(-9, 1, 0)
    launch(the_job, resources(max_failures=3), "train", ends)
    assert ends.told == [LaunchRequest(job=the_job, resources=resources(max_failures=3))] * 3
    lines = capsys.readouterr().err.splitlines()
    assert "espalier train: the process that drives Ray died (SIGKILL)" in lines[0]
    assert "3 more attempts" in lines[0]
    assert "(status 1), or Ray's head or controller did; 2 more attempts from the last checkpoint" in lines[1]


def test_a_disk_without_room_for_a_checkpoint_is_said_before_ray_starts(
    the_job: Job, monkeypatch: pytest.MonkeyPatch, small_disk: Path
) -> None:
    ends = Ends(0)
    full = changed_job(the_job, run_dir=small_disk)
    with pytest.raises(
        DiskError,
        match=rf"{small_disk}: the disk is full; nothing was replaced\. Free some space and run it again",
    ):
        launch(full, resources(), "train", ends)
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    with pytest.raises(DiskError, match=rf"{small_disk}: the disk is full"):
        launch(the_job, resources(), "train", ends)
    assert ends.told == []
    assert [path.name for path in small_disk.iterdir()] == ["full"]


def test_it_gives_up_after_the_failures_that_are_allowed(the_job: Job) -> None:
    ends = Ends(*[-9] * 3)
    with pytest.raises(TrainingError, match="died 3 times; show_ray_logs may tell why"):
        launch(the_job, resources(max_failures=2), "train", ends)
    assert len(ends.told) == 3


def test_an_error_of_this_program_is_not_tried_again(the_job: Job) -> None:
    ends = Ends(EXIT_INTERNAL)
    with pytest.raises(EspalierError, match="an error in this program ended the training, see above"):
        launch(the_job, resources(max_failures=2), "train", ends)
    assert len(ends.told) == 1


def test_a_users_error_is_told_as_it_is(the_job: Job) -> None:
    def attempt(_request: LaunchRequest) -> int:
        user_error_path(the_job).write_text("amp is fp16, which needs a CUDA device")
        return 0

    with pytest.raises(TrainingError, match="amp is fp16, which needs a CUDA device"):
        launch(the_job, resources(), "train", attempt)


def test_what_workers_sent_last_is_shown(
    the_job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their live line may reach the storage just before they end, after the driver's last look at it."""

    def attempt(request: LaunchRequest) -> int:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "node"))
        fit(request.job, "cpu", 1)
        last = run_storage(request.job)
        last.write(PROGRESS, (last.read(PROGRESS) or b"").replace(b'"epoch": 3', b'"epoch": 4'))
        return 0

    (tmp_path / "bucket").mkdir()
    launch(the_job, resources(storage=str(tmp_path / "bucket")), "train", attempt)
    assert "train  epoch 4/3" in capsys.readouterr().err


def test_a_run_that_another_folder_drives_is_refused_before_anything_starts(
    the_job: Job, tmp_path: Path
) -> None:
    (tmp_path / "bucket").mkdir()
    other = changed_job(the_job, run_dir=tmp_path / "elsewhere" / "run")
    ends = Ends()
    with signs_of_life(send(other, str(tmp_path / "bucket")), every_s=0.02), pytest.raises(LockedError):
        launch(the_job, resources(storage=str(tmp_path / "bucket")), "train", ends)
    assert ends.told == []


def test_a_driver_ends_with_the_stage_that_started_it(tmp_path: Path) -> None:
    """And so does what it started, with the folder of its Ray.

    Its stdin closes when the stage dies, however it dies.
    """
    code = """
import subprocess, sys
from pathlib import Path
from pipeline.launch.ray_cluster import _ray_folder
from pipeline.launch.driver import _end_after
subprocess.Popen(["sleep", "60"])
with _ray_folder(Path("run")) as folder:
    assert folder.is_dir()
    print("waits", flush=True)
    _end_after(sys.stdin.buffer.read, Path("run"))
"""
    command, environment = [sys.executable, "-c", code], {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waits\n"
        assert process.poll() is None, "it ended before the stage did"
        process.communicate(timeout=30)  # closes its stdin, and waits until nobody holds its stdout
        assert process.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("TimeoutError()", "TimeoutError"),
        ("RuntimeError('no node\\ncame in time')", "came in time"),
        ("ConnectionError('no node\\ncame in time')", "came in time"),
    ],
)
def test_a_ray_of_our_own_that_does_not_start_is_tried_again(the_job: Job, error: str, says: str) -> None:
    """On a machine that is too busy Ray's own processes miss each other, with errors of Python's kinds."""
    code = f"""
import sys
from pathlib import Path
import ray
from pipeline.launch.driver import main

def init(**_):
    raise {error}

ray.init = init
main(Path(sys.argv[1]), is_attached=False)
"""
    request = the_job.site.run_dir / "launch.json"
    request.write_text(LaunchRequest(job=the_job, resources=resources()).model_dump_json())
    words = [sys.executable, "-c", code, str(request)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as driver:
        assert driver.stderr is not None
        assert driver.wait(60) == 1
        assert driver.stderr.read() == f"espalier: Ray did not start: {says}\n"
    assert not user_error_path(the_job).exists()


HEAVY = {
    *(
        "boto3",
        "dvc",
        "matplotlib",
        "mlflow",
        "numpy",
        "onnx",
        "onnxruntime",
        "onnxscript",
        "pandas",
        "pyarrow",
        "ray",
    ),
    *("scipy", "sklearn", "timm", "torch", "torch_pruning", "torchao", "torchvision"),
}
"""Packages that take a tenth of a second or more to import, torch a second or two."""
IMPORTS: dict[str, set[str]] = {
    "stages.prepare": {"matplotlib", "numpy", "pyarrow"},
    "stages.train": set(),
    "stages.profile": set(),
    "stages.prune": {"numpy", "pyarrow", "torch", "torch_pruning"},
    "stages.finetune": set(),
    "stages.quantize": {"numpy", "onnx", "onnxruntime", "pyarrow", "torch"},
    "stages.evaluate": {"matplotlib", "numpy", "onnx", "onnxruntime", "pyarrow", "torch"},
    "stages.compare": {"matplotlib", "numpy", "onnxruntime", "pyarrow"},
    "stages.register": set(),
    "pipeline.launch.driver": set(),
}
"""What a process needs whatever it is asked to do; the rest it imports where it comes to that."""


def test_no_stage_waits_for_what_it_does_not_use() -> None:
    assert {f"stages.{path.stem}" for path in (ROOT / "stages").glob("[a-z]*.py")} == IMPORTS.keys() - {
        "pipeline.launch.driver"
    }
    code = f"import importlib, sys; importlib.import_module(sys.argv[1]); print(*{HEAVY} & set(sys.modules))"
    words = [sys.executable, "-c", code]
    started = {
        name: subprocess.Popen([*words, name], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for name in IMPORTS
    }
    found = {name: set(process.communicate()[0].split()) for name, process in started.items()}
    assert all(process.returncode == 0 for process in started.values())
    needless = {
        name: packages - IMPORTS[name] for name, packages in found.items() if packages - IMPORTS[name]
    }
    assert not needless
