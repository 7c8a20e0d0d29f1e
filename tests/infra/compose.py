"""Reads infra/compose.yaml as compose does."""

import re
from collections.abc import Mapping
from typing import Any

from tests.infra.manifests import INFRA, documents

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
VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


def compose() -> dict[str, Any]:
    return documents(COMPOSE)[0]


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def one_shots() -> set[str]:
    """Services that end: others wait for that."""
    waits = [service.get("depends_on", {}) for service in services().values()]
    return {
        name
        for wait in waits
        for name, on in wait.items()
        if on["condition"] == "service_completed_successfully"
    }


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its ${variables}, as compose does it. Raises KeyError where a required one is missing."""

    def value(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        return values.get(name, default) if kind == "-" else values[name]

    return VARIABLE.sub(value, text)


def command(name: str) -> list[str]:
    """What a service runs, filled."""
    return [filled(word, VALUES) for word in services()[name]["command"]]


def environment(name: str) -> dict[str, str]:
    """The variables of a service, filled."""
    return {key: filled(value, VALUES) for key, value in services()[name]["environment"].items()}
