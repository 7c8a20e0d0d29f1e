"""Workers get SIGTERM, as on a machine that is taken away: all leave after a checkpoint of the step they are
at.
"""

import json
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from pipeline.base.files import sha256_file
from tests.chaos.test_chaos import Edit
from tests.support.project import Command, Project, copied_project, fresh_project, training_workers, until
from tests.support.trainings import WITHOUT_TRAINING, mlflow_steps, reached, validated

TIMES = 5
EPOCHS = 90
RARE = {"train": {"epochs": EPOCHS}, "resources": {"workers": 2, "checkpoint_s": 1000.0, "max_failures": 0}}
"""No failure is allowed: to leave is none."""
LISTENS = Edit(
    "pipeline/launch/worker.py", "signal.signal(signal.SIGTERM, lambda *_: _told_to_go.set())", "pass"
)
TOLD = "a worker was told to go; training goes on elsewhere"


def step(project: Project) -> int:
    """As the live line shows it, half a second old at most."""
    for path in (project.root / ".espalier/runs").glob("train-*/progress.json"):
        with suppress(OSError, ValueError):
            shown: int = json.loads(path.read_text())["step"]
            return shown
    return 0


def has_said(command: Command, said: Path, times: int) -> bool:
    """Whether the command has told so many times that its workers leave, or has ended."""
    return command.process.poll() is not None or said.read_text().count(TOLD) == times


def tell_again_and_again(project: Project) -> list[float]:
    """Each worker in turn; seconds from each word until training goes on after the step at which all left."""
    command = project.start("dvc", "repro", "train")
    said, seconds = command.log / "err", []
    for number in range(1, TIMES + 1):
        reached(project, 8 * number, command)
        before, start = step(project), time.monotonic()
        workers = training_workers(project.processes())
        workers[number % len(workers)].send_signal(signal.SIGTERM)
        until(partial(has_said, command, said, number), "they leave", 60.0)
        assert command.process.poll() is None, said.read_text()
        newest = max((project.root / ".espalier/runs").glob("train-*/checkpoints/step-*")).name
        left = int(newest.removeprefix("step-"))
        assert left >= before, "a step was lost"
        until(lambda left=left: step(project) > left, "training goes on", 120.0)  # type: ignore[misc]
        seconds.append(time.monotonic() - start)
    command.wait().expect_success()
    until(lambda: not project.processes(), "the courier ends", 30.0)
    return seconds


@pytest.mark.timeout(1200)
def test_no_step_is_lost_and_no_failure_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The twin that does not listen must fail: SIGTERM ends its worker, which is a failure."""
    (tmp_path / "undisturbed").mkdir()
    with fresh_project(tmp_path / "undisturbed") as undisturbed:
        undisturbed.change_params(RARE)
        undisturbed.run("dvc", "repro", "train").expect_success()
        with copied_project(undisturbed, tmp_path / "disturbed", leave_out=WITHOUT_TRAINING) as project:
            seconds = tell_again_and_again(project)
            weights = "artifacts/dense/weights.safetensors"
            assert sha256_file(project.root / weights) == sha256_file(undisturbed.root / weights)
            assert mlflow_steps(project) == validated(undisturbed)
        with copied_project(undisturbed, tmp_path / "twin", leave_out=WITHOUT_TRAINING) as twin:
            LISTENS.apply(twin.root)
            with pytest.raises(AssertionError, match="training gave up after 0 restarts"):
                tell_again_and_again(twin)
    with capsys.disabled():
        said = f"no step lost, on after {min(seconds):.1f} to {max(seconds):.1f} s"
        print(f"\ntold to go: {TIMES} times, {said}")  # noqa: T201
