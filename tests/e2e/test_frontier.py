"""A sweep that is killed in the middle goes on where it was; each point runs what follows a change of prune and no more."""

import os
import signal
import sys
import time
from pathlib import Path

from pipeline.report import read_journal
from tests.e2e.project import TINY, Project, copied_project, of_project, running_stages, until

ESPALIER = (sys.executable, "-m", "pipeline.cli", "frontier")
EPOCHS = TINY["finetune"]["epochs"]
SWEEP = (*ESPALIER, "run", "--set", "prune.target.macs=0.7,0.5")
"""A pruning that is new, and the one that the cache holds."""
AFTER_PRUNE = {"finetune", "quantize", "evaluate@pruned", "evaluate@finetuned", "evaluate@quantized", "compare"}


def validated(folder: Path) -> list[float]:
    """When each epoch of a fine-tuning was reported (s since 1970), of the one journal of finetune below a folder."""
    journals = list(folder.glob("journals/finetune-*.jsonl"))
    assert len(journals) <= 1
    events = [event for journal in journals for event in read_journal(journal) if event.get("step") is not None]
    return [event["time"] for event in events if "val/top1" in event["values"]]


def at_work(project: Project) -> Path:
    """Where the state of the first point lies; a path without files until it does."""
    return next((project.root / ".espalier/frontier").glob("frontier-*/.espalier"), project.root / "none")


def test_a_killed_sweep_goes_on_and_what_it_made_is_registered_after_apply(complete: Project, tmp_path: Path) -> None:
    with copied_project(complete, tmp_path) as project:
        before = project.run("git", "status", "--short").expect_success().out
        first = project.start(*SWEEP)
        until(lambda: len(validated(at_work(project))) >= 2, "two epochs of the first point are validated", 600.0)
        os.killpg(first.process.pid, signal.SIGKILL)
        first.process.wait()
        killed = time.time()
        until(lambda: not of_project(project), "no process is left after the sweep was killed", 20.0)

        done = [line.split()[0] for line in project.run(*SWEEP).expect_success().out.splitlines() if line.endswith(": done")]
        assert len(done) == 2
        epochs = validated(project.root / ".espalier")
        assert len(epochs) == EPOCHS
        assert epochs[1] < killed, "the second run went on from a checkpoint of the first"
        ran = {path.name.split("-")[0] for path in (project.root / ".espalier/journals").glob("*.jsonl")}
        assert ran == {"profile", "prune", *AFTER_PRUNE}, "the others came from the cache, or never ran"

        assert "2 points, 2 of them experiments already" in project.run(*SWEEP).expect_success().out
        shown = project.run(*ESPALIER, "show", "--keep", "0.01").expect_success().out
        assert [line.split()[1] for line in shown.splitlines() if line.startswith(("0.5 ", "0.7 "))].count("quantized") == 2
        assert "Smallest that keeps 0.01" in shown
        assert (project.root / ".espalier/frontier.png").stat().st_size > 10_000
        assert project.run("git", "status", "--short").expect_success().out == before

        project.run("dvc", "exp", "apply", done[0]).expect_success()
        assert project.read_params()["prune"]["target"] == {"macs": 0.7}
        assert running_stages(project.run("dvc", "repro").expect_success().out) == ["register"]
