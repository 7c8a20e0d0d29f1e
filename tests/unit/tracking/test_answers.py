"""Whatever answers at MLflow's address, every way to it ends in one message of ours."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

from pipeline.base.stage import Stage
from pipeline.doctor.mlflow_services import mlflow
from pipeline.errors import EspalierError, UnreachableError
from pipeline.pretrained.registered import registered_model
from pipeline.registry.candidates import read_inputs
from pipeline.registry.register import register
from pipeline.summary import summary
from pipeline.tracking.answers import mlflow_errors
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import new_record, write_record
from pipeline.tracking.store import open_session, sync
from pipeline.tracking.ui import ui
from tests.support.figures_samples import evaluated_project, register_params
from tests.support.servers import answering
from tests.support.tracked_project import write

EXPERIMENT = {
    "experiment_id": "1",
    "name": "espalier",
    "lifecycle_stage": "active",
    "artifact_location": "s3://b",
}
BODIES: dict[str, Any] = {
    "nothing": {},
    "a page": "<html><body>Sign in</body></html>",
    "a list": [1, 2],
    "a text": "hello",
    "a number": 5,
    "null": None,
    "a number for an experiment": {"experiment": 5},
    "an experiment alone": {"experiment": EXPERIMENT},
    "numbers for runs": {
        "experiment": EXPERIMENT,
        "runs": [5],
        "registered_models": 5,
        "model_versions": "x",
    },
    "a run without a name": {"experiment": EXPERIMENT, "runs": [{}], "run": {}},
    "an error of another kind": {"error_code": 5, "message": ["x"]},
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = evaluated_project(tmp_path / "project")
    monkeypatch.chdir(root)
    write(root, "reports/verdict.json", '{"model_name": "tiny"}')
    stage = Stage("prepare", root)
    write_record(stage.journal, new_record(stage, 1000.0))
    Journal(stage.journal).metrics({"loss": 0.5}, step=1)
    return root


def of_a_stage(root: Path) -> None:
    stage = Stage("prepare", root)
    open_session(stage, new_record(stage, 1000.0)).send([])


def of_register(root: Path) -> None:
    stage = Stage("register", root)
    register(register_params(), stage, read_inputs(stage))


def of_init(root: Path) -> None:
    with registered_model("models:/tiny@dense", root):
        pass


WAYS: list[Callable[[Path], object]] = [
    of_a_stage,
    of_register,
    of_init,
    sync,
    mlflow,
    lambda root: ui(root, 5000),
]


def told(way: Callable[[Path], object], root: Path) -> str:
    """The one message that a way ends with; "" where it ends well.

    Any other exception is the test's failure.
    """
    try:
        return str(getattr(way(root), "text", ""))
    except EspalierError as error:
        return str(error)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_another_answer_than_mlflows_ends_in_one_message(
    root: Path, monkeypatch: pytest.MonkeyPatch, body: Any
) -> None:
    text = body if isinstance(body, str) and body.startswith("<") else json.dumps(body)
    with answering(200, text.encode()) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        says = [told(way, root) for way in WAYS]
        says.append(summary(root).partition("are not known now: ")[2].partition("\nNext")[0])
    assert [said for said in says if "\n" in said] == []
    mute = {6} if "experiment" in text else set()  # there summary sees a registry without such a model
    assert [said for at, said in enumerate(says) if url not in said and at not in mute] == []


def test_a_server_that_answers_late_is_given_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with answering(200, json.dumps({"experiment": EXPERIMENT}).encode(), after_s=30.0) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        for way in (of_a_stage, of_register, sync):
            with pytest.raises(UnreachableError, match="does not answer; start it"):
                way(root)


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_server_that_takes_no_artifacts_is_named(root: Path, status: int) -> None:
    with (
        answering(status, b"<html>no</html>", "text/html") as url,
        pytest.raises(UnreachableError, match=rf"MLflow at {url} does not (take or give artifacts|answer)"),
        mlflow_errors(url),
    ):
        send: Any = HttpArtifactRepository
        send(f"{url}/api/2.0/mlflow-artifacts/artifacts").log_artifact(str(root / "params.yaml"))


@pytest.mark.parametrize("uri", ["nosuch://x", "file:runs", "postgresql://me:secret@127.0.0.1:1/x"])
def test_an_address_that_is_none_is_named(root: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(EspalierError, match=re.escape(uri.replace("me:secret@", ""))):
        sync(root)
