"""SIGKILL at several places, or Ctrl-C, run again: the same weights bit for bit, each step once in MLflow,
no process left.

Each place many times, and the others (the process that drives Ray, its controller, whatever writes), are in
tests/chaos; a killed process group is in test_frontier.
"""

import os
import signal
import sys
from pathlib import Path

from tests.support.project import TINY, Project, copied_project, named, training_workers, until
from tests.support.trainings import WITHOUT_TRAINING, mlflow_steps, reached, validated

EPOCHS = TINY["train"]["epochs"]


def test_killed_again_and_again_it_ends_in_the_same_weights(complete: Project, tmp_path: Path) -> None:
    expected = complete.digests("artifacts/dense")
    with copied_project(complete, tmp_path, leave_out=WITHOUT_TRAINING) as project:
        # Without its tracking server: what that lacks comes from the journal in the end.
        first = project.start("dvc", "repro", "train", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
        reached(project, 3, first)
        # A worker: Ray starts the group again, which resumes from our checkpoint.
        training_workers(project.processes())[0].kill()
        reached(project, 5, first)

        # Ray's head, with which the process that drives it ends: the stage starts that again.
        head = named(project, "gcs_server")
        assert head is not None
        head.kill()
        again = "3 more attempts from the last checkpoint"
        until(lambda: again in first.said("err"), "the stage notices that Ray's head is gone", 120.0, first)
        reached(project, len(validated(project)) + 2, first)

        # Only dvc: the stage notices that its parent is gone, and ends with its children.
        first.process.kill()
        first.process.wait()
        until(lambda: not project.processes(), "the stage ends after its dvc was killed", 20.0)
        assert not (project.root / "artifacts" / "dense").exists(), "a killed stage leaves no outs"

        # Ctrl-C, which a terminal sends to the whole group: one line says so, and no traceback of anyone's.
        interrupted = project.start("dvc", "repro", "train")
        reached(project, len(validated(project)) + 1, interrupted)
        os.killpg(interrupted.process.pid, signal.SIGINT)
        ended = interrupted.wait()
        # What DVC says of the stage's status is its shell's: bash passes 130 on, dash ends by the signal.
        assert ended.status == 255
        assert "espalier train: interrupted; the same command goes on from what is complete" in ended.err
        assert "Traceback" not in ended.out + ended.err
        until(lambda: not project.processes(), "the stage and its children end after Ctrl-C", 20.0)
        assert not list(project.scratch.glob("ray-*")), "nor is Ray's folder left"

        # Undisturbed to the end, but for a second run of the same stage, which is refused.
        kept = len(validated(project))
        third = project.start("dvc", "repro", "train")
        until(lambda: training_workers(project.processes()), "the workers start", 600.0, third)
        refused = project.run(sys.executable, "-m", "stages.train")
        assert refused.status == 1
        assert "espalier train: stage train is at work in process " in refused.err
        assert "Traceback" not in refused.err
        done = third.wait().expect_success()
        until(lambda: not project.processes(), "the courier ends after the stage", 30.0)
        assert f"epoch {EPOCHS}/{EPOCHS}" in done.err + done.out
        assert kept >= 10, "the last run had checkpoints to resume from"

        assert project.digests("artifacts/dense") == expected
        assert (project.root / "reports/train/history.csv").read_text() == (
            complete.root / "reports/train/history.csv"
        ).read_text()
        assert mlflow_steps(project) == validated(complete), "each step is in MLflow once, in order"
        assert not list((project.root / ".espalier/runs").iterdir()), "success empties the run directory"
