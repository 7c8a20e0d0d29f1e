"""Clones that register the same models at the same moment, in one database: everything is there once."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.registering import CLIENTS, ROUNDS, clones, command
from tests.support.tracked_project import empty_database

ROOT = Path(__file__).parents[2]
ENDS_S = 300.0


def test_four_clones_leave_each_version_and_run_once(tmp_path: Path) -> None:
    addresses = [f"sqlite:///{database(tmp_path / f'shared-{number}')}" for number in range(ROUNDS)]
    commands = [[sys.executable, *command(clone, tmp_path, addresses)] for clone in clones(tmp_path)]
    clients = [
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for words in commands
    ]
    try:
        said = [client.communicate(timeout=ENDS_S)[0] for client in clients]
    finally:
        for client in clients:
            client.kill()
            client.wait()
    assert [client.returncode for client in clients] == [0] * CLIENTS, said
    assert [text for text in said if "espalier sync" in text] == [], "a courier gave up"
    assert not (ROOT / "mlruns").exists()


def database(folder: Path) -> Path:
    """A database with MLflow's tables alone; to make them takes seconds."""
    empty_database(folder)
    return Path(shutil.move(folder / ".espalier/mlflow/mlflow.db", folder / "shared.db"))
