"""A sweep of two points at a time, one of them the line's own, that is killed in the middle goes on where it
was; a new point runs what follows a change of prune and no more.
"""

import os
import signal
import sys
import time
from pathlib import Path

from pipeline.tracking.journal import read_journal
from tests.support.project import TINY, Project, copied_project, running_stages, until

ESPALIER = (sys.executable, "-m", "pipeline.cli", "frontier")
EPOCHS = TINY["finetune"]["epochs"]
SWEEP = (*ESPALIER, "run", "--set", "prune.target.macs=0.7,0.5", "--jobs", "2")
AFTER_PRUNE = {
    "finetune",
    "quantize",
    "evaluate@pruned",
    "evaluate@finetuned",
    "evaluate@quantized",
    "compare",
}


def validated(project: Project) -> list[list[float]]:
    """When each epoch of each fine-tuning was reported (s since 1970), of the points at work and of those
    that are made.
    """
    state = project.root / ".espalier"
    journals = {path.name: path for path in (*state.glob("journals/finetune-*.jsonl"), *at_work(state))}
    events = [
        [event for event in read_journal(path) if event.get("step") is not None] for path in journals.values()
    ]
    return [[event["time"] for event in each if "val/score" in event["values"]] for each in events]


def at_work(state: Path) -> list[Path]:
    return list(state.glob("frontier/frontier-*/.espalier/journals/finetune-*.jsonl"))


def test_a_killed_sweep_goes_on_and_what_it_made_is_registered_after_apply(
    complete: Project, tmp_path: Path
) -> None:
    with copied_project(complete, tmp_path) as project:
        project.change_params({"resources": {"workers": 1}})  # two points fit into two CPUs
        before = project.run("git", "status", "--short").expect_success().out
        first = project.start(*SWEEP)
        three = "three epochs of the point that is new are validated"  # the checkpoint of two is complete
        until(lambda: [len(epochs) >= 3 for epochs in validated(project)] == [True], three, 600.0, first)
        os.killpg(first.process.pid, signal.SIGKILL)
        said = first.wait().out.splitlines()[1:]
        killed = time.time()
        until(lambda: not project.processes(), "no process is left after the sweep was killed", 20.0)
        started = [line for line in said if "starts," in line]
        assert started[0] in started[1:], "the first point makes the dense model before both start"
        assert (len(started), len(set(started))) == (3, 2)

        said += project.run(*SWEEP).expect_success().out.splitlines()
        made = {label: name for name, label, _ in (line.split() for line in said if line.endswith(": done"))}
        assert set(made) == {"prune.target.macs=0.7:", "prune.target.macs=0.5:"}
        assert not at_work(project.root / ".espalier")
        assert [len(epochs) for epochs in validated(project)] == [EPOCHS]
        assert all(epochs[1] < killed for epochs in validated(project)), (
            "it went on from a checkpoint of the killed run"
        )
        ran = {path.name.split("-")[0] for path in (project.root / ".espalier/journals").glob("*.jsonl")}
        assert ran == {"profile", "prune", *AFTER_PRUNE}, "the others came from the cache, or never ran"

        assert "2 points, 2 of them experiments already" in project.run(*SWEEP).expect_success().out
        shown = project.run(*ESPALIER, "show", "--keep", "0.01").expect_success().out
        assert [line.split()[1] for line in shown.splitlines() if line.startswith(("0.5 ", "0.7 "))].count(
            "quantized"
        ) == 2
        assert "that keeps 0.01 of dense's validation score" in shown
        assert (project.root / ".espalier/frontier.png").stat().st_size > 10_000
        assert project.run("git", "status", "--short").expect_success().out == before

        project.run("dvc", "exp", "apply", made["prune.target.macs=0.7:"]).expect_success()
        assert project.read_params()["prune"]["target"] == {"macs": 0.7}
        assert running_stages(project.run("dvc", "repro").expect_success().out) == ["register"]
