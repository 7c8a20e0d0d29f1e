"""A client that registers a small project's models, in rounds that several begin at the same moment.

`python -m tests.support.registering <project> <meeting folder> <clients> <thread|process> <address> ...`,
an MLflow's address a round.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from pipeline.base.stage import Stage
from pipeline.compare.records import VARIANTS
from pipeline.tracking.delivery import CourierProcess, start_courier, tracked
from pipeline.tracking.store import KEY_TAG, connect, sync
from stages.register import main
from tests.support.couriers import ThreadCourier
from tests.support.figures_samples import GOOD, evaluate, evaluated_project, params_yaml
from tests.support.places import ROOT
from tests.support.tracked_project import empty_database, write

CLIENTS = 4
ROUNDS = 3
ENDS_S = 60.0
ROUND_S = 200.0
"""A round of four clients on two busy cores takes a quarter of a minute."""
MEETING = "meeting"


def clones(folder: Path, number: int = CLIENTS) -> list[Path]:
    """The same evaluated project, several times, beside a folder by which their clients meet."""
    (folder / MEETING).mkdir()
    first = evaluated_project(folder / "clone-0")
    return [first, *(Path(shutil.copytree(first, folder / f"clone-{each}")) for each in range(1, number))]


def command(
    clone: Path, folder: Path, addresses: list[str], clients: int = CLIENTS, couriers: str = "thread"
) -> list[str]:
    """What `python` is to run for one client."""
    return [
        "-m",
        "tests.support.registering",
        str(clone),
        str(folder / MEETING),
        str(clients),
        couriers,
        *addresses,
    ]


def register_at_once(folder: Path, rounds: int, number: int = CLIENTS) -> None:
    """Clones register the same models at the same moment, each round in a new database; all is there once."""
    addresses = [f"sqlite:///{tables(folder / f'shared-{number}')}" for number in range(rounds)]
    commands = [
        [sys.executable, *command(clone, folder, addresses, number)] for clone in clones(folder, number)
    ]
    clients = [
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for words in commands
    ]
    try:
        said = [client.communicate(timeout=ROUND_S * rounds)[0] for client in clients]
    finally:
        for client in clients:
            client.kill()
            client.wait()
    assert [client.returncode for client in clients] == [0] * number, said
    assert [text for text in said if "espalier sync" in text] == [], "a courier gave up"
    assert not (ROOT / "mlruns").exists()


def tables(folder: Path) -> Path:
    """A database with MLflow's tables alone; to make them takes seconds."""
    empty_database(folder)
    return Path(shutil.move(folder / ".espalier/mlflow/mlflow.db", folder / "shared.db"))


def model_name(number: int) -> str:
    return f"tiny-{number}"


def meet(folder: Path, name: str, clients: int) -> None:
    """Return when all clients have come here."""
    (folder / f"{name}-{os.getpid()}").touch()
    while len(list(folder.glob(f"{name}-*"))) < clients:
        time.sleep(0.01)


def register_in_rounds(
    root: Path,
    folder: Path,
    clients: int,
    addresses: list[str],
    start: Callable[[Stage], CourierProcess],
) -> None:
    """In each round other models, registered under another name; the process ends with status 1 where one is
    not there once.
    """
    for number, address in enumerate(addresses):
        os.environ["MLFLOW_TRACKING_URI"] = address
        write(
            root,
            "params.yaml",
            params_yaml({**GOOD, "model_name": model_name(number)}),
        )
        for place, variant in enumerate(VARIANTS):
            evaluate(root, variant, seed=100 * number + place)
        meet(folder, f"register-{number}", clients)
        stage = Stage("register", root)
        with tracked(stage, start) as report:
            main(stage, report)
        for courier in psutil.Process().children():
            courier.wait(ENDS_S)
        meet(folder, f"sync-{number}", clients)
        sync(root)
        meet(folder, f"look-{number}", clients)
        if faults := doubles(root, number):
            sys.exit(f"round {number}: {faults}")


def doubles(root: Path, number: int) -> list[str]:
    """What is in the MLflow of a round, at MLFLOW_TRACKING_URI, other than once: three versions, their
    models, two runs.
    """
    store, name = connect(root), model_name(number)
    versions = {int(each.version): each for each in store.client.search_model_versions(f"name = '{name}'")}
    aliases = {alias: int(at) for alias, at in store.client.get_registered_model(name).aliases.items()}
    said = {each.tags["variant"]: at for at, each in versions.items()}
    faults = (
        []
        if sorted(said) == sorted(each.tags["variant"] for each in versions.values())
        else [f"versions {said}"]
    )
    if len(said) != 3 or aliases != {
        "dense": said["dense"],
        "candidate": said["quantized"],
        "champion": said["quantized"],
    }:
        faults.append(f"versions {said}, aliases {aliases}")
    runs = store.client.search_runs([store.experiment_id])
    keys = [run.data.tags[KEY_TAG] for run in runs]
    faults += [f"run {key}" for key in set(keys) if keys.count(key) > 1]
    if not {str(each.run_id) for each in versions.values()} <= {run.info.run_id for run in runs}:
        faults.append("a version's run is gone")
    models = [
        each
        for each in store.client.search_logged_models([store.experiment_id])
        if each.name.startswith(f"{name}-")
    ]
    if sorted(each.name for each in models) != sorted(f"{name}-{variant}" for variant in said):
        faults.append(f"models {sorted(each.name for each in models)}")
    return faults


if __name__ == "__main__":
    project, meeting, clients, couriers, *addresses = sys.argv[1:]
    start = ThreadCourier if couriers == "thread" else start_courier
    register_in_rounds(Path(project), Path(meeting), int(clients), addresses, start)
