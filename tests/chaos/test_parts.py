"""SIGKILL in the second training of a pruning in parts, through DVC, the stage and the driver: the same bytes
all the same.
"""

import os
import signal
from pathlib import Path

import pytest

from tests.support.project import Project, copied_project, fresh_project, until

PARAMS = {
    "train": {"epochs": 4},
    "prune": {"schedule": {"parts": 3, "epochs": 10}, "round_to": 2, "importance": "taylor"},
    "resources": {"checkpoint_s": 0.2},
}


def checkpoints(project: Project, training: int) -> list[Path]:
    return list((project.root / ".espalier" / "runs").glob(f"prune-*/*-tuning-{training}/checkpoints/step-*"))


@pytest.mark.timeout(1200)
def test_a_schedule_that_was_killed_ends_in_the_same_bytes(tmp_path: Path) -> None:
    with fresh_project(tmp_path / "undisturbed") as undisturbed:
        undisturbed.change_params(PARAMS)
        undisturbed.run("dvc", "repro", "profile").expect_success()
        with copied_project(undisturbed, tmp_path / "killed") as killed:
            first = killed.start("dvc", "repro", "prune")
            until(lambda: checkpoints(killed, training=2), "the second training has a checkpoint", 300.0)
            os.killpg(first.process.pid, signal.SIGKILL)
            first.process.wait()
            until(lambda: not killed.processes(), "everything ends with dvc", 30.0)
            assert checkpoints(killed, training=2), "killed in the middle"
            assert not (killed.root / "artifacts" / "pruned").exists()
            killed.run("dvc", "repro", "prune").expect_success()
            undisturbed.run("dvc", "repro", "prune").expect_success()
            assert killed.digests("artifacts/pruned", "reports") == undisturbed.digests(
                "artifacts/pruned", "reports"
            )
