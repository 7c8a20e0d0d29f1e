"""Registrations on busy cores, each with a new database and a courier beside it, and those of several clients
at once: none fails, and everything is there once.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.registering import clones, command, register_at_once
from tests.support.tracked_project import empty_database

NUM_REGISTRATIONS = 40
ROOT = Path(__file__).parents[2]
BUSY = "while True: pass"
NUM_BUSY = 3
ROUNDS = 10


@pytest.mark.timeout(3600)
def test_forty_registrations_on_busy_cores(tmp_path: Path) -> None:
    addresses = []
    for number in range(NUM_REGISTRATIONS):
        empty_database(tmp_path / f"{number}")
        made = shutil.move(tmp_path / f"{number}/.espalier/mlflow/mlflow.db", tmp_path / f"{number}.db")
        addresses.append(f"sqlite:///{made}")
    (clone,) = clones(tmp_path, 1)
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(NUM_BUSY)]
    try:
        words = [sys.executable, *command(clone, tmp_path, addresses, 1, "process")]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is the new champion") == NUM_REGISTRATIONS
    assert "espalier register" not in done.stderr


@pytest.mark.timeout(3600)
def test_four_clones_register_at_once_again_and_again(tmp_path: Path) -> None:
    register_at_once(tmp_path, ROUNDS)
