"""infra/ray against the schema that Ray ships, Ray's own command line, and what we promise of them."""

import copy
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import click
import jsonschema  # type: ignore[import-untyped]
import pytest
import ray

from pipeline.jobs.start import check_tracking
from tests.infra.manifests import INFRA, documents
from tests.infra.ray_start import options

FILES = ["onprem", "aws"]
STARTS = [(name, role) for name in FILES for role in ("head", "worker")]
SCHEMA = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())


def config(name: str) -> dict[str, Any]:
    return documents(INFRA / f"ray/{name}.yaml")[0]


def start_of(name: str, role: str) -> str:
    command: str = config(name)[f"{role}_start_ray_commands"][-1]
    return command


def complaints(config: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(config)]


@pytest.mark.parametrize("name", FILES)
def test_ray_takes_it(name: str) -> None:
    assert complaints(config(name)) == []


@pytest.mark.parametrize("name", FILES)
def test_ray_fills_it_up(name: str) -> None:
    """As `ray up` does before it asks the provider anything."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    full = prepare_config(config(name))
    validate_config(full)
    workers = sum(kind["max_workers"] for kind in full["available_node_types"].values())
    assert workers >= 2


@pytest.mark.parametrize("name", FILES)
def test_a_fault_is_found(name: str) -> None:
    faults: list[dict[str, Any]] = [copy.deepcopy(config(name)) for _ in range(4)]
    faults[0]["worker_start_commands"] = []
    faults[1]["max_workers"] = "2"
    del faults[2]["provider"]
    faults[3]["auth"]["user"] = "ray"
    assert all(complaints(fault) for fault in faults)


@pytest.mark.parametrize(("name", "role"), STARTS)
def test_ray_start_has_these_options(name: str, role: str) -> None:
    asked = options(start_of(name, role))
    assert asked["head"] is (role == "head")
    assert asked["metrics_export_port"] == 8080
    assert asked["dashboard_host"] in ("127.0.0.1", "localhost")  # loopback is Ray's default too


def test_an_option_that_ray_lacks_is_found() -> None:
    with pytest.raises(click.NoSuchOption):
        options("ray start --head --metric-export-port=8080")


@pytest.mark.parametrize(("name", "role"), STARTS)
def test_the_shell_takes_it_and_asks_for_the_token(name: str, role: str, tmp_path: Path) -> None:
    """Run by a shell in which `ray` only tells how it was called."""
    ray = tmp_path / "espalier/venv/bin/ray"
    write(ray, '#!/bin/sh\nenv > "$HOME/environment"\necho "$RAY_AUTH_MODE" "$@"\n').chmod(0o755)
    write(
        tmp_path / ".config/espalier/cluster.env",
        "MLFLOW_TRACKING_URI=https://mlflow.example.org\nAWS_ACCESS_KEY_ID=key\n",
    )
    command = start_of(name, role).replace("ulimit -n 65536;", "")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RAY_HEAD_IP": "192.0.2.10"}
    said = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith("token start ")
    assert ("--address=192.0.2.10:6379" in said) is (role == "worker")
    has = dict(line.split("=", 1) for line in (tmp_path / "environment").read_text().splitlines())
    check_tracking(has)
    assert has["AWS_ACCESS_KEY_ID"] == "key"
    assert has["PATH"].startswith(f"{ray.parent}:"), "a job would find another python"
    assert has.get("RAY_TMPDIR") == (str(tmp_path / "espalier/ray") if name == "onprem" else None)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_ray_lies_in_a_private_folder_of_a_machine_that_others_use(tmp_path: Path) -> None:
    """The last setup command makes it, and closes one that was open before. Machines of AWS have one user."""
    folder, environment = tmp_path / "espalier/ray", {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    for _ in range(2):
        subprocess.run(["bash", "-c", config("onprem")["setup_commands"][-1]], env=environment, check=True)
        assert folder.stat().st_mode & 0o777 == 0o700
        folder.chmod(0o777)


@pytest.mark.parametrize("name", FILES)
def test_what_a_node_needs_travels_as_files(name: str) -> None:
    asked = config(name)
    home = Path("/home") / asked["auth"]["ssh_user"]
    assert asked["file_mounts"] == {
        f"{home}/.ray/auth_token": "~/.ray/auth_token",
        f"{home}/.config/espalier/cluster.env": "~/.config/espalier/cluster.env",
        f"{home}/espalier/requirements.txt": "requirements.txt",
    }
    assert (INFRA.parent / "requirements.txt").exists()
    assert not re.search(
        r"[0-9a-f]{32}|RAY_AUTH_TOKEN=|AKIA[A-Z0-9]{16}|BEGIN .*KEY", (INFRA / f"ray/{name}.yaml").read_text()
    )


def test_machines_are_those_of_nobody() -> None:
    """Addresses for documentation (RFC 5737): a file that was not filled in reaches no one."""
    provider = config("onprem")["provider"]
    assert all(address.startswith("192.0.2.") for address in [provider["head_ip"], *provider["worker_ips"]])


def test_instances_start_when_they_are_needed() -> None:
    kinds = config("aws")["available_node_types"]
    assert {name: kind.get("min_workers", 0) for name, kind in kinds.items()} == {
        "head": 0,
        "cpu": 0,
        "gpu": 0,
    }


def test_metadata_of_instances_needs_a_session() -> None:
    for kind in config("aws")["available_node_types"].values():
        assert kind["node_config"]["MetadataOptions"] == {"HttpTokens": "required"}
        assert all(disk["Ebs"]["Encrypted"] for disk in kind["node_config"]["BlockDeviceMappings"])
