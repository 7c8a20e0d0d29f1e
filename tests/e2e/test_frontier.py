"""A sweep that is killed in the middle goes on where it was; the dense model comes from the cache in each of its points."""

import os
import signal
import sys
import time
from pathlib import Path

from pipeline.report import read_journal
from tests.e2e.project import TINY, Project, copied_project, of_project, until

ESPALIER = (sys.executable, "-m", "pipeline.cli", "frontier")
EPOCHS = TINY["finetune"]["epochs"]
SWEEP = (*ESPALIER, "run", "--set", f"finetune.epochs=8,{EPOCHS}")
"""A fine-tuning that is new, and the one that the cache holds."""


def validated(folder: Path) -> list[float]:
    """When each epoch of a fine-tuning was reported (s since 1970), of the one journal of finetune below a folder."""
    journals = list(folder.glob("journals/finetune-*.jsonl"))
    assert len(journals) <= 1
    events = [event for journal in journals for event in read_journal(journal) if event.get("step") is not None]
    return [event["time"] for event in events if "val/top1" in event["values"]]


def at_work(project: Project) -> Path:
    """Where the state of the first point lies; a path without files until it does."""
    return next((project.root / ".espalier/frontier").glob("frontier-*/.espalier"), project.root / "none")


def test_a_killed_sweep_goes_on_and_no_point_trains_the_dense_model(complete: Project, tmp_path: Path) -> None:
    # A tracking database belongs to its folder: a copy of it would write its artifacts into the original.
    with copied_project(complete, tmp_path, leave_out=(".espalier",)) as project:
        before = project.run("git", "status", "--short").expect_success().out
        first = project.start(*SWEEP)
        until(lambda: len(validated(at_work(project))) >= 2, "two epochs of the first point are validated", 600.0)
        os.killpg(first.process.pid, signal.SIGKILL)
        first.process.wait()
        killed = time.time()
        until(lambda: not of_project(project), "no process is left after the sweep was killed", 20.0)

        assert project.run(*SWEEP).expect_success().out.count(": done") == 2
        epochs = validated(project.root / ".espalier")
        assert len(epochs) == 8
        assert epochs[1] < killed, "the second run went on from a checkpoint of the first"
        trained = {path.name.split("-")[0] for path in (project.root / ".espalier/journals").glob("*.jsonl")}
        assert trained & {"prepare", "train", "evaluate@dense", "register"} == set(), "these came from the cache, or never ran"

        assert "2 points, 2 of them experiments already" in project.run(*SWEEP).expect_success().out
        shown = project.run(*ESPALIER, "show", "--keep", "0.01").expect_success().out
        assert [line.split()[1] for line in shown.splitlines() if line.startswith(("2 ", "8 "))].count("quantized") == 2
        assert "Smallest that keeps 0.01" in shown
        assert (project.root / ".espalier/frontier.png").stat().st_size > 10_000
        assert project.run("git", "status", "--short").expect_success().out == before
