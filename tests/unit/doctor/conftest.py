"""The environment of the tests of `espalier doctor`."""

import os

import pytest

OURS = ("RAY_", "MLFLOW_", "AWS_")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the shell decides, and none that is set here remains."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_RUNTIME_ENV_IGNORE_GITIGNORE"):
        monkeypatch.setenv(name, "")
