"""`espalier ui`: whom it lets in, and that no secret is in its command, which everybody on the machine can
read.
"""

import configparser
from pathlib import Path

import pytest

from pipeline.errors import EspalierError
from pipeline.tracking.local import local_folder, tracking_uri
from pipeline.tracking.ui import ui

PASSWORD = {"MLFLOW_AUTH_ADMIN_PASSWORD": "correct horse battery"}


@pytest.fixture(autouse=True)
def _local_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_it_serves_the_database_of_the_stages_on_loopback(tmp_path: Path) -> None:
    server = ui(tmp_path, 5000, environment={})
    assert server.url == "http://127.0.0.1:5000"
    assert Path(server.command[0]).is_absolute()
    assert server.environment["MLFLOW_BACKEND_STORE_URI"] == tracking_uri(tmp_path)
    assert option(server.command, "--host") == "127.0.0.1"
    assert option(server.command, "--allowed-hosts") == "127.0.0.1:5000,localhost:5000,[::1]:5000"
    assert "--app-name" not in server.command


def test_no_pickle_is_loaded_whatever_the_environment_says(tmp_path: Path) -> None:
    server = ui(tmp_path, 5000, environment={"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true"})
    assert server.environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_a_databases_password_is_not_in_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@127.0.0.1/runs")
    server = ui(tmp_path, 5000)
    assert "secret" not in " ".join(server.command)
    assert server.environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql://me:secret@127.0.0.1/runs"


def test_a_server_has_a_ui_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@example.org:5000")
    with pytest.raises(EspalierError, match=r"at http://example\.org:5000"):
        ui(tmp_path, 5000)


@pytest.mark.parametrize("environment", [{}, {"MLFLOW_AUTH_ADMIN_PASSWORD": "password"}])
@pytest.mark.parametrize("host", ["10.1.2.3", "fd00::1", "node-1.example.org"])
def test_beyond_loopback_a_password_is_demanded(
    tmp_path: Path, host: str, environment: dict[str, str]
) -> None:
    with pytest.raises(
        EspalierError, match=r"there is no default password: set MLFLOW_AUTH_ADMIN_PASSWORD \(12 characters"
    ):
        ui(tmp_path, 5000, host, environment)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_address_that_is_every_address_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(EspalierError, match="give the one by which others reach it"):
        ui(tmp_path, 5000, host, PASSWORD)


def test_beyond_loopback_it_asks_for_accounts_under_one_name(tmp_path: Path) -> None:
    server = ui(tmp_path, 5000, "fd00::1", PASSWORD)
    assert server.url == "http://[fd00::1]:5000"
    assert option(server.command, "--app-name") == "basic-auth"
    assert option(server.command, "--allowed-hosts") == "[fd00::1]:5000"
    assert len(server.environment["MLFLOW_FLASK_SERVER_SECRET_KEY"]) == 64
    assert not any(secret in " ".join(server.command) for secret in PASSWORD.values())
    accounts = configparser.ConfigParser()
    accounts.read(server.environment["MLFLOW_AUTH_CONFIG_PATH"])
    assert "admin_password" not in accounts["mlflow"]
    assert accounts["mlflow"]["database_uri"] == f"sqlite:///{local_folder(tmp_path)}/accounts.db"
    assert (local_folder(tmp_path) / "accounts.db").stat().st_mode & 0o777 == 0o600, (
        "it will hold hashes of passwords"
    )


def test_accounts_of_the_users_own_are_taken(tmp_path: Path) -> None:
    server = ui(tmp_path, 5000, "10.1.2.3", {"MLFLOW_AUTH_CONFIG_PATH": "/etc/accounts.ini"})
    assert server.environment["MLFLOW_AUTH_CONFIG_PATH"] == "/etc/accounts.ini"
