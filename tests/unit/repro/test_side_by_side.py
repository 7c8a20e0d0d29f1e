"""Stages of a tiny DVC project, side by side: what overlaps, what DVC's files say afterwards, and how it
ends.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import ParamsError
from pipeline.repro.side_by_side import repro
from tests.support.project import sessions, until
from tests.support.submit_samples import environment, repository

WORK = """
import os, sys, time
from pathlib import Path

me = os.environ["DVC_STAGE"]
Path(f"{me}.here").touch()

def wait(what, true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, f"{me} saw no {what}"
        time.sleep(0.02)

if "TOGETHER" in os.environ:
    if me == "timed":
        assert not Path("slow.here").exists() and not Path("quick.here").exists()
    elif me != "first":
        other = {"slow": "quick", "quick": "slow"}[me]
        wait(other, Path(f"{other}.here").exists)
    if me == "slow":
        wait("end of quick", lambda: "  quick:" in Path("dvc.lock").read_text())
        assert "FAIL" not in os.environ
Path(me).write_text(me)
"""
"""`slow` and `quick` wait for each other, and `slow` until `quick` is in dvc.lock; `timed` must not find them
at work."""
DVC_YAML = """
stages:
  slow: &stage
    cmd: python work.py
    deps: [first]
    outs: [slow]
  quick: {<<: *stage, outs: [quick]}
  timed: {<<: *stage, outs: [timed], meta: {machine: alone}}
  first: {<<: *stage, deps: [work.py], outs: [first]}
  last: {<<: *stage, cmd: cat slow quick > last, deps: [slow, quick], outs: [last]}
"""
SLEEPER = """
import time
from pathlib import Path
from pipeline.entry import die_with_dvc

die_with_dvc()
Path("first").touch()
time.sleep(600)
"""
PLANNED = """
import json, sys
from pathlib import Path
from pipeline.repro.dag import plan

print(json.dumps({step.name: step.changed for step in plan(Path(), sys.argv[1:], pull=True)}))
"""
ESPALIER = (sys.executable, "-m", "pipeline.cli", "repro")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = repository(tmp_path / "project")
    (root / "work.py").write_text(WORK)
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / ".gitignore").write_text("/first\n/slow\n/quick\n/timed\n/last\n*.here\n")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    return root


def run(root: Path, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environ = {name: value for name, value in environment().items() if not name.startswith("DVC_")}
    return subprocess.run(
        words, cwd=root, env=environ | variables, check=False, capture_output=True, text=True
    )


@pytest.fixture
def sleeping(root: Path) -> Iterator["subprocess.Popen[str]"]:
    """An `espalier repro` whose first stage is at work, for ten minutes."""
    (root / "work.py").write_text(SLEEPER)
    command = subprocess.Popen(
        ESPALIER,
        cwd=root,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        until((root / "first").exists, "the first stage is at work", 60)
        yield command
    finally:
        for process in sessions({command.pid}):
            process.kill()
        command.communicate()


def test_stages_overlap_and_leave_the_lock_of_a_plain_repro(root: Path) -> None:
    done = run(root, *ESPALIER, "--jobs", "3", TOGETHER="1")
    assert done.returncode == 0, done.stdout + done.stderr
    found = [line for line in done.stdout.splitlines() if line.startswith("slow ")]
    assert found[:2] == ["slow  | Running stage 'slow':", "slow  | > python work.py"]
    lock = (root / "dvc.lock").read_bytes()
    order = list(yaml.safe_load(lock)["stages"])

    again = run(root, *ESPALIER)
    assert again.stdout.splitlines() == [f"{name:<5} | didn't change, skipping" for name in order]
    assert (root / "dvc.lock").read_bytes() == lock

    (root / "dvc.lock").unlink()
    assert run(root, "dvc", "repro", "--force").returncode == 0
    assert (root / "dvc.lock").read_bytes() == lock


def test_what_is_only_in_the_remote_is_judged_by_its_digest(root: Path) -> None:
    """As where a job starts: dvc.lock is there, and no output.

    DVC's log is of a process, so it has one of its own.
    """
    digests = {"first": "1" * 32, "slow": "2" * 32, "quick": "3" * 32}
    code = hashlib.md5(WORK.encode(), usedforsecurity=False).hexdigest()

    def entry(name: str, dep: str, md5: str) -> dict[str, Any]:
        return {
            "cmd": "python work.py",
            "deps": [{"path": dep, "md5": md5}],
            "outs": [{"path": name, "md5": digests[name]}],
        }

    stages = {
        "first": entry("first", "work.py", code),
        "slow": entry("slow", "first", digests["first"]),
        "quick": entry("quick", "first", "0" * 32),
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    done = run(root, sys.executable, "-c", PLANNED, "slow", "quick", "timed")
    assert json.loads(done.stdout) == {"first": False, "slow": False, "quick": True, "timed": True}
    step = (sys.executable, "-m", "pipeline.repro.one", "--pull")
    assert run(root, *step, "slow").returncode == 0
    done = run(root, *step, "quick")  # there is no remote to bring it from
    assert done.returncode == 1
    assert re.search(
        r"^ERROR: failed to reproduce 'quick': .*Checkout failed for .*first", done.stderr, re.MULTILINE
    )


def test_a_failure_lets_the_others_end_and_starts_no_more(root: Path) -> None:
    done = run(root, *ESPALIER, "--jobs", "2", "slow", "quick", "last", TOGETHER="1", FAIL="1")
    assert done.returncode == 1
    assert done.stderr == "espalier repro: failed: slow, see above; not run: last\n"
    assert (
        "slow  | ERROR: failed to reproduce 'slow': failed to run: python work.py, exited with 1"
        in done.stdout
    )
    assert list(yaml.safe_load((root / "dvc.lock").read_text())["stages"]) == ["first", "quick"]


def test_ctrl_c_ends_the_stages_and_leaves_dvc_in_order(
    root: Path, sleeping: "subprocess.Popen[str]"
) -> None:
    sleeping.send_signal(signal.SIGINT)
    _, error = sleeping.communicate(timeout=60)
    assert (sleeping.returncode, error) == (
        1,
        "\ninterrupted; what is complete is kept, and the same command goes on from there\n",
    )
    assert sessions({sleeping.pid}) == []
    assert (root / ".dvc" / "tmp" / "rwlock").read_text() == "{}"


def test_no_stage_outlives_a_killed_repro(root: Path, sleeping: "subprocess.Popen[str]") -> None:
    os.kill(sleeping.pid, signal.SIGKILL)
    until(lambda: not sessions({sleeping.pid}), "the stage and its dvc have ended", 60)
    assert (root / ".dvc" / "tmp" / "rwlock").read_text() == "{}"


def test_what_cannot_run_is_said_at_once(root: Path) -> None:
    with pytest.raises(ParamsError, match=r"--jobs is a number of stages at a time; give 1 or more"):
        repro(root, [], 0)
    done = run(root, *ESPALIER, "sloww")
    assert (done.returncode, done.stderr) == (
        1,
        "espalier repro: Stage 'sloww' not found inside 'dvc.yaml' file\n",
    )
