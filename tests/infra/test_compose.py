"""infra/compose.yaml: what it publishes, asks for and pins. test_compose_by_hand.py starts it."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import sqlalchemy

from pipeline.jobs.start import check_tracking
from tests.infra.compose import COMPOSE, VALUES, VARIABLE, compose, environment, filled, one_shots, services
from tests.infra.manifests import INFRA
from tests.infra.ray_start import parsed

SECRET = re.compile("PASSWORD|SECRET|TOKEN|_KEY")


def test_compose_takes_it(tmp_path: Path) -> None:
    docker, bare = shutil.which("docker"), {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def ends(*arguments: str, **values: str) -> int:
        return subprocess.run(
            [docker or "", "compose", *arguments], env=bare | values, check=False
        ).returncode

    if docker is None or ends("version") != 0:
        pytest.skip("no `docker compose` on this machine")
    config = ("--file", str(COMPOSE), "config", "--quiet")
    assert ends(*config, **VALUES) == 0
    assert ends(*config) != 0


def test_what_ended_is_started_again() -> None:
    """A Ray node ends itself when the head gave it up; tests/cluster/test_rejoin.py does what Docker then
    does.
    """
    restarted = {name for name, service in services().items() if service.get("restart") == "unless-stopped"}
    assert restarted == services().keys() - one_shots()
    assert all("--block" in services()[name]["command"] for name in ("ray-head", "ray-worker"))


def test_only_loopback_is_published() -> None:
    published = [port for service in services().values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:9000:9000", "127.0.0.1:5000:5000", "127.0.0.1:8265:8265"]
    assert not any(
        service.get("network_mode") or service.get("privileged") for service in services().values()
    )


def test_the_database_is_reached_by_mlflow_alone() -> None:
    assert compose()["networks"] == {"database": {"internal": True}, "cluster": None}
    beside = {name for name, service in services().items() if "database" in service["networks"]}
    assert beside == {"postgres", "mlflow"}
    assert services()["postgres"]["networks"] == ["database"]


def test_who_names_a_service_shares_a_network_with_it() -> None:
    for name, service in services().items():
        words = " ".join(map(str, [*service.get("command", []), *service["environment"].values()]))
        named = {other for other in services() if re.search(rf"[/@=]{other}[:/]", words)}
        for other in named:
            assert {*service["networks"]} & {*services()[other]["networks"]}, f"{name} cannot reach {other}"
        assert "s3" in named or name in ("postgres", "s3"), name


def test_a_head_has_what_a_submitted_job_asks_for() -> None:
    check_tracking(environment("ray-head"))


def test_no_node_sees_a_folder_of_this_machine() -> None:
    assert not any("volumes" in services()[name] for name in ("ray-head", "ray-worker"))


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
    assert {
        "POSTGRES_PASSWORD",
        "MINIO_ROOT_PASSWORD",
        "MLFLOW_AUTH_ADMIN_PASSWORD",
        "MLFLOW_FLASK_SERVER_SECRET_KEY",
    } <= seen
    required = {name for name, kind, _ in VARIABLE.findall(COMPOSE.read_text()) if kind == "?"}
    assert {name for name in VALUES if not name.startswith("ESPALIER_")} == required
    assert not re.search("password|secret", (INFRA / "mlflow_auth.ini").read_text().partition("[mlflow]")[2])


def test_every_image_is_pinned() -> None:
    for name, service in services().items():
        assert re.search(r":(RELEASE\.[\dTZ-]+|\d+\.\d+(\.\d+)?(-[a-z]+)?)$", service["image"]), name


def test_every_service_tells_its_health() -> None:
    for name, service in services().items():
        assert name in one_shots() or service["healthcheck"]["test"][0] == "CMD", name
    assert one_shots() == {"buckets"}


def test_what_we_build_gains_nothing() -> None:
    built = {name: service for name, service in services().items() if "build" in service}
    assert built.keys() == {"buckets", "mlflow", "ray-head", "ray-worker"}
    for name, service in built.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


@pytest.mark.parametrize("name", ["ray-head", "ray-worker"])
def test_ray_asks_for_the_token(name: str) -> None:
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
