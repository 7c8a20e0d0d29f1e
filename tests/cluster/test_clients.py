"""Clones that register the same models at the same moment, on one server with PostgreSQL: all is once."""

import shutil
from pathlib import Path

from werkzeug.security import generate_password_hash

from tests.support.hosts.network import Network
from tests.support.hosts.services import ACCOUNTS_DATABASE, S3, Mlflow, Postgres
from tests.support.hosts.topology import TOOLS
from tests.support.places import ROOT
from tests.support.registering import CLIENTS, ROUNDS, clones, command

ENDS_S = 600.0
PATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "120"}
"""For a server that shares few cores with all of its clients."""
PLACE = Path("/tmp/clones")
CHEAP = "pbkdf2:sha256:1"
"""How the password is hashed. With its own scrypt, MLflow's server spends 8 CPU minutes of the test on it."""


def test_four_clones_leave_each_version_and_run_once_on_a_server(network: Network, tmp_path: Path) -> None:
    services, user = network.add_host("services"), network.add_host("client", [ROOT])
    store, database = S3(services), Postgres(services)
    mlflow = Mlflow(services, database, store)
    store.start()
    database.start()
    database.wait_ready()
    mlflow.start()
    for part in (store, mlflow):
        part.wait_ready()
    hashed = generate_password_hash(mlflow.environment["MLFLOW_TRACKING_PASSWORD"], CHEAP)
    database.query(ACCOUNTS_DATABASE, f"UPDATE users SET password_hash = '{hashed}'")
    (made := tmp_path / "made").mkdir()
    names = [clone.name for clone in clones(made)]
    shutil.copytree(made, user.path(PLACE))
    commands = [["python", *command(PLACE / name, PLACE, [mlflow.url] * ROUNDS)] for name in names]
    environment = {**TOOLS, **mlflow.environment, **PATIENT}
    clients = [user.start(words, environment, cwd=str(ROOT)) for words in commands]
    assert [client.wait(ENDS_S) for client in clients] == [0] * CLIENTS, [client.tail() for client in clients]
    assert [client.tail() for client in clients if "does not answer" in client.tail()] == []
