"""`espalier ui` as it is started: who is answered, what it listens to, and with which settings."""

import base64
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pipeline.tracking.ui import UI, ui
from tests.infra.processes import free_port, running, status, until
from tests.support.listening import listens, open_beyond_loopback

SEARCH = "api/2.0/mlflow/experiments/search?max_results=1"
PASSWORD = "correct horse battery"


@contextmanager
def started(server: UI, url: str, folder: Path) -> Iterator[list[psutil.Process]]:
    others = set(psutil.Process().children(recursive=True))
    with running(server.command, server.environment, folder):
        until(lambda: status(f"{url}/health") == 200, 90, folder / f"{Path(server.command[0]).name}.log")
        yield [process for process in psutil.Process().children(recursive=True) if process not in others]


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")} | dict(
        changes
    )


def test_it_answers_its_owner_alone_and_loads_no_pickle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    server = ui(tmp_path, port := free_port(), environment=environment({}))
    with started(server, server.url, tmp_path) as processes:
        assert status(f"{server.url}/{SEARCH}") == 200
        assert status(f"{server.url}/{SEARCH}", {"Host": f"localhost:{port}"}) == 200
        for rebound in ("evil.example.org", f"10.example.org:{port}", f"192.168.example.org:{port}"):
            assert status(f"{server.url}/{SEARCH}", {"Host": rebound}) == 403, rebound
        assert listens(processes)
        assert open_beyond_loopback(processes) == set()
        settings = {process.environ().get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION") for process in processes}
        assert settings == {"false"}


def test_beyond_loopback_it_asks_for_an_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for another address of this machine; here it listens on loopback all the same, so that no test opens
    a door.
    """
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    server = ui(
        tmp_path, port := free_port(), "10.1.2.3", environment({"MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD})
    )
    command = ["127.0.0.1" if word == "10.1.2.3" else word for word in server.command]
    us = {
        "Host": f"10.1.2.3:{port}",
        "Authorization": f"Basic {base64.b64encode(f'admin:{PASSWORD}'.encode()).decode()}",
    }
    url = f"http://127.0.0.1:{port}"
    with started(UI(url, command, server.environment), url, tmp_path):
        assert status(f"{url}/{SEARCH}", {"Host": us["Host"]}) == 401
        assert status(f"{url}/{SEARCH}", us | {"Authorization": "Basic YWRtaW46cGFzc3dvcmQ="}) == 401
        assert status(f"{url}/{SEARCH}", us) == 200
        assert status(f"{url}/{SEARCH}", us | {"Host": f"127.0.0.1:{port}"}) == 403
