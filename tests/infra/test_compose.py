"""infra/compose.yaml: what it publishes, asks for and pins; its MLflow server and its bucket for real."""

import base64
import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
import sqlalchemy

from tests.infra.manifests import INFRA, documents
from tests.infra.processes import BIN, free_port, running, status, until
from tests.infra.ray_start import parsed

COMPOSE = INFRA / "compose.yaml"
VALUES = {
    "ESPALIER_UID": "1000",
    "ESPALIER_GID": "1000",
    "MLFLOW_ADMIN_USERNAME": "admin",
    "MLFLOW_ADMIN_PASSWORD": "correct horse battery",
    "MLFLOW_SECRET_KEY": "signs",
    "POSTGRES_PASSWORD": "database",
    "RAY_AUTH_TOKEN_PATH": "/dev/null",
    "S3_ACCESS_KEY": "access",
    "S3_SECRET_KEY": "secret-key",
}
"""What a user sets; RAY_WORKER_CPUS has a default."""
SECRET = re.compile("PASSWORD|SECRET|TOKEN|_KEY")
VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


def compose() -> dict[str, Any]:
    return documents(COMPOSE)[0]


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def one_shots() -> set[str]:
    """Services that end: others wait for that."""
    waits = [service.get("depends_on", {}) for service in services().values()]
    return {name for wait in waits for name, on in wait.items() if on["condition"] == "service_completed_successfully"}


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its ${variables}, as compose does it. Raises KeyError where a required one is missing."""

    def value(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        return values.get(name, default) if kind == "-" else values[name]

    return VARIABLE.sub(value, text)


def test_compose_takes_it(tmp_path: Path) -> None:
    docker, bare = shutil.which("docker"), {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def ends(*arguments: str, **values: str) -> int:
        return subprocess.run([docker or "", "compose", *arguments], env=bare | values, check=False).returncode

    if docker is None or ends("version") != 0:
        pytest.skip("no `docker compose` on this machine")
    config = ("--file", str(COMPOSE), "config", "--quiet")
    assert ends(*config, **VALUES) == 0
    assert ends(*config) != 0


def test_what_ended_is_started_again() -> None:
    """A Ray node ends itself when the head gave it up; tests/cluster/test_rejoin.py does what Docker then does."""
    restarted = {name for name, service in services().items() if service.get("restart") == "unless-stopped"}
    assert restarted == services().keys() - one_shots()
    assert all("--block" in services()[name]["command"] for name in ("ray-head", "ray-worker"))


def test_only_loopback_is_published() -> None:
    published = [port for service in services().values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:5000:5000", "127.0.0.1:8265:8265"]
    assert not any(service.get("network_mode") or service.get("privileged") for service in services().values())


def test_database_and_store_are_reached_by_mlflow_alone() -> None:
    assert compose()["networks"]["storage"] == {"internal": True}
    beside = {name for name, service in services().items() if "storage" in service["networks"]}
    assert beside == {"postgres", "s3", "bucket", "mlflow"}
    assert all(services()[name]["networks"] == ["storage"] for name in ("postgres", "s3", "bucket"))


def test_every_secret_is_required_and_has_no_default() -> None:
    seen = set()
    for service in services().values():
        for name, value in service["environment"].items():
            if SECRET.search(name) and not name.endswith("_PATH"):
                seen.add(name)
                variable = VARIABLE.fullmatch(value)
                assert variable, f"{name} is written out"
                assert variable[2] == "?", f"{name} is not required"
                assert variable[3], f"{name} does not say what is missing"
    assert {"POSTGRES_PASSWORD", "MINIO_ROOT_PASSWORD", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"} <= seen
    required = {name for name, kind, _ in VARIABLE.findall(COMPOSE.read_text()) if kind == "?"}
    assert {name for name in VALUES if not name.startswith("ESPALIER_")} == required
    assert not re.search("password|secret", (INFRA / "mlflow_auth.ini").read_text().partition("[mlflow]")[2])


def test_every_image_is_pinned() -> None:
    for name, service in services().items():
        assert re.search(r":(RELEASE\.[\dTZ-]+|\d+\.\d+(\.\d+)?(-[a-z]+)?)$", service["image"]), name


def test_every_service_tells_its_health() -> None:
    for name, service in services().items():
        assert name in one_shots() or service["healthcheck"]["test"][0] == "CMD", name
    assert one_shots() == {"bucket"}


def test_what_we_build_gains_nothing() -> None:
    built = {name: service for name, service in services().items() if "build" in service}
    assert built.keys() == {"bucket", "mlflow", "ray-head", "ray-worker"}
    for name, service in built.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


@pytest.mark.parametrize("name", ["ray-head", "ray-worker"])
def test_ray_asks_for_the_token_and_starts(name: str) -> None:
    service = services()[name]
    assert service["environment"]["RAY_AUTH_MODE"] == "token"
    assert service["environment"]["RAY_AUTH_TOKEN_PATH"] == f"/run/secrets/{service['secrets'][0]}"
    assert "RAY_ADDRESS" not in service["environment"]  # a head would join instead of starting
    asked = parsed([filled(word, VALUES) for word in service["command"][2:]])
    assert asked["head"] is (name == "ray-head")
    assert asked["block"] is True
    assert asked["metrics_export_port"] == 8080


def test_mlflow_loads_no_pickle_and_runs_no_jobs() -> None:
    environment = services()["mlflow"]["environment"]
    assert environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_the_database_has_a_driver_in_the_image() -> None:
    """SQLAlchemy imports it here. Without a name it takes psycopg 3, which requirements.txt lacks."""
    accounts = configparser.ConfigParser()
    accounts.read(INFRA / "mlflow_auth.ini")
    runs = next(word for word in services()["mlflow"]["command"] if word.startswith("--backend-store-uri="))
    for uri in (accounts["mlflow"]["database_uri"], runs.partition("=")[2]):
        assert sqlalchemy.create_engine(uri).dialect.driver == "psycopg2"
    assert "psycopg2-binary" in (INFRA / "Dockerfile").read_text()


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[str]:
    """A stand-in for the S3 store."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    with running([str(BIN / "moto_server"), "--host", "127.0.0.1", "--port", str(port)], os.environ, tmp_path):
        until(lambda: status(url) > 0, 60, tmp_path / "moto_server.log")
        yield url


def adapted(name: str, s3: str) -> dict[str, str]:
    """The environment of a service, filled, with the one change that a test needs: where the store is."""
    environment = {key: filled(value, VALUES) for key, value in services()[name]["environment"].items()}
    return {"PATH": os.environ["PATH"], **environment, "AWS_ENDPOINT_URL": s3}


def test_mlflow_keeps_strangers_out(s3: str, tmp_path: Path) -> None:
    """The commands of compose.yaml, with SQLite for PostgreSQL, and a free port of loopback."""
    port, database = free_port(), f"sqlite:///{tmp_path}/mlflow.db"
    for _ in range(2):  # `compose up` may come again, and the bucket is there
        command = [sys.executable, *services()["bucket"]["command"][1:]]
        subprocess.run(command, env=adapted("bucket", s3), check=True)
    changes = {
        "--host=0.0.0.0": "--host=127.0.0.1",
        "5000": str(port),
        "postgresql+psycopg2://mlflow@postgres/mlflow": database,
    }
    command, accounts = services()["mlflow"]["command"], (INFRA / "mlflow_auth.ini").read_text()
    for old, new in changes.items():
        assert any(old in word for word in command)
        command = [word.replace(old, new) for word in command]
    (tmp_path / "auth.ini").write_text(accounts.replace("postgresql+psycopg2://mlflow@postgres/mlflow", database))
    environment = adapted("mlflow", s3) | {"MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "auth.ini")}
    url = f"http://127.0.0.1:{port}"
    with running([str(BIN / "mlflow"), *command[1:]], environment, tmp_path):
        until(lambda: status(f"{url}/health") == 200, 90, tmp_path / "mlflow.log")
        account = base64.b64encode(b"admin:correct horse battery").decode()
        us, stranger = {"Authorization": f"Basic {account}"}, {"Authorization": "Basic YWRtaW46cGFzc3dvcmQ="}
        search = f"{url}/api/2.0/mlflow/experiments/search?max_results=1"
        assert status(search) == 401
        assert status(search, stranger) == 401
        assert status(search, us) == 200
        assert status(search, us | {"Host": "evil.example.org"}) == 403
        assert status(f"{url}/api/2.0/mlflow-artifacts/artifacts/a.txt", us, "PUT", b"hello") == 200
        keys = {"aws_access_key_id": VALUES["S3_ACCESS_KEY"], "aws_secret_access_key": VALUES["S3_SECRET_KEY"]}
        store = boto3.client("s3", endpoint_url=s3, region_name="us-east-1", **keys)
        assert store.get_object(Bucket="mlflow", Key="a.txt")["Body"].read() == b"hello"
