"""Models that pass their gates become versions of one registered model, once, in a real registry."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch

from pipeline.base.stage import Stage
from pipeline.errors import ArtifactError, EspalierError, GateError, UnreachableError
from pipeline.pretrained.registered import registered_model
from pipeline.registry.candidates import read_inputs
from pipeline.registry.register import Registration, register, registered_versions
from pipeline.registry.served import save_served
from pipeline.summary import summary
from pipeline.tasks.description.params import notes_of
from pipeline.tasks.serving.serving import make_serving
from pipeline.tracking.delivery import tracked
from pipeline.tracking.local import tracking_uri
from pipeline.tracking.records import run_key
from pipeline.tracking.store import connect, sync
from stages.register import main
from tests.support import damage
from tests.support.couriers import ThreadCourier
from tests.support.figures_samples import (
    CLASSES,
    SHAPE,
    evaluate,
    evaluated_project,
    register_params,
    seal,
)
from tests.support.pickles import pickles
from tests.support.tracked_project import free_port, mlflow_server

CANARIES = (
    "canary-of-the-tracking-address",
    "canary-of-the-storage",
    "canary-of-a-variable",
    "canary-of-the-git-remote",
)
README = Path(__file__).parents[2] / "README.md"
IMAGES = np.random.default_rng(7).integers(0, 256, (5, *SHAPE)).astype(np.uint8)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return evaluated_project(tmp_path / "project")


@contextmanager
def mlflow_address(uri: str) -> Iterator[None]:
    """A user's own session: `models:/` names are looked up at one address for the whole process."""
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri("")


def register_now(root: Path, **changes: Any) -> Registration:
    stage = Stage("register", root)
    return register(register_params(**changes), stage, read_inputs(stage))


def aliases(root: Path) -> dict[str, int]:
    found = connect(root).client.get_registered_model("tiny").aliases
    return {alias: int(number) for alias, number in found.items()}


def test_a_passing_candidate_is_registered_with_its_ancestors(root: Path) -> None:
    with tracked(Stage("register", root), ThreadCourier) as report:
        main(Stage("register", root), report)
    assert aliases(root) == {"dense": 1, "candidate": 3, "champion": 3}
    client = connect(root).client
    quantized = client.get_model_version_by_alias("tiny", "champion")
    tags = quantized.tags
    assert (tags["variant"], tags["parent"], tags["data"], tags["score"]) == (
        "quantized",
        "2",
        "d" * 64,
        "0.98",
    )
    assert {
        "espalier.key",
        "weights",
        "git_commit",
        "git_dirty",
        "dvc_lock",
        "params",
        "pipeline",
        "macs",
        "size_bytes",
    } <= set(tags)
    assert quantized.description is not None
    assert "score (top-1 accuracy) on the test split: 0.9800" in quantized.description
    assert not any(str(root) in value for value in tags.values())
    assert quantized.run_id is not None
    run = client.get_run(quantized.run_id)
    assert run.info.run_name.startswith("pipeline ")
    assert run.data.metrics["quantized/batch1/speedup"] == 4.0
    verdict = json.loads((root / "reports/verdict.json").read_text())
    assert verdict["candidate"] == "quantized"
    assert all(gate["passed"] for gate in verdict["gates"].values())
    assert "@champion" in summary(root)


def test_registered_weights_can_be_trained_from(root: Path) -> None:
    tensors = {"head.weight": torch.arange(6.0).view(2, 3)}
    # Beside an ONNX file, for the test.
    safetensors.torch.save_file(tensors, root / "artifacts/dense/weights.safetensors")
    register_now(root)
    with registered_model("models:/tiny@dense", root) as folder:
        # MLflow's note of the address would send what the process does for another project to this one's
        # database.
        assert not os.environ.get("MLFLOW_TRACKING_URI")
        assert safetensors.torch.load_file(folder / "weights.safetensors")["head.weight"].equal(
            tensors["head.weight"]
        )
        assert (folder / "model.json").read_bytes() == (root / "artifacts/dense/model.json").read_bytes()
    for uri, error, says in (
        (
            "models:/tiny@champion",
            ArtifactError,
            r"models:/tiny@champion: holds no weights\.safetensors, because it is int8",
        ),
        ("models:/tiny@nobody", EspalierError, "refuses"),
    ):
        with pytest.raises(error, match=says), registered_model(uri, root):
            pass


def test_the_same_models_make_no_second_version(root: Path) -> None:
    first, second = register_now(root), register_now(root)
    assert first.versions == second.versions == {"dense": 1, "finetuned": 2, "quantized": 3}
    assert second.champion.reason == "it is the champion already"
    assert len(registered_versions(root, "tiny")) == 3
    assert first.examined.to_json() == second.examined.to_json()


def test_the_champion_moves_to_a_better_model_and_stays_before_a_worse_one(root: Path) -> None:
    register_now(root)
    evaluate(root, "quantized", seed=11, score=0.976)
    worse = register_now(root)
    assert worse.versions == {"dense": 1, "finetuned": 2, "quantized": 4}
    assert "does not replace the champion: score 0.9760 against the champion's 0.9800" in str(worse)
    assert aliases(root) == {"dense": 1, "candidate": 4, "champion": 3}
    evaluate(root, "quantized", seed=12, score=0.99)
    assert "is the new champion" in str(register_now(root))
    assert aliases(root) == {"dense": 1, "candidate": 5, "champion": 5}


def test_a_failed_gate_registers_nothing(root: Path) -> None:
    evaluate(root, "quantized", seed=3, score=0.9)
    with (
        pytest.raises(GateError, match="quantized fails 1 of 11 gates; nothing was registered"),
        tracked(Stage("register", root), ThreadCourier) as report,
    ):
        main(Stage("register", root), report)
    assert not (root / "reports/verdict.json").exists()
    assert connect(root).client.search_registered_models() == []


def test_an_interrupted_registration_is_completed(root: Path) -> None:
    register_now(root)
    client = connect(root).client
    # As a kill leaves it between storing the model and making its version, and in the middle of storing.
    client.delete_model_version("tiny", "3")
    client.delete_model_version("tiny", "2")
    experiments = [connect(root).experiment_id]
    tags = client.search_logged_models(experiments, "name = 'tiny-finetuned'")[0]
    client.delete_logged_model(tags.model_id)
    client.create_logged_model(
        experiments[0], "tiny-finetuned", tags={"espalier.key": tags.tags["espalier.key"]}
    )
    versions = register_now(root).versions
    assert {str(each.version) for each in client.search_model_versions("name = 'tiny'")} == {
        str(v) for v in versions.values()
    }
    stored = client.search_logged_models(experiments)
    names = ["tiny-dense", "tiny-finetuned", "tiny-quantized"]
    assert sorted(model.name for model in stored if str(model.status) == "READY") == names
    assert len(stored) == 4, "another client may be storing the half-made one right now"


def test_a_loaded_model_predicts_what_onnxruntime_computes(root: Path) -> None:
    register_now(root)
    with mlflow_address(tracking_uri(root)):
        loaded = mlflow.pyfunc.load_model("models:/tiny@champion").predict(IMAGES)
    session = onnxruntime.InferenceSession(str(root / "exported/quantized/model.onnx"))
    (logits,) = session.run(["logits"], {"pixels": IMAGES.astype(np.float32)})
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert list(loaded["label"]) == [CLASSES[index] for index in logits.argmax(axis=1)]
    np.testing.assert_allclose(loaded["probability"], softmax.max(axis=1), rtol=1e-5)


@pytest.mark.parametrize("harm", [damage.flip, damage.truncate, damage.zero])
def test_a_stored_file_that_is_damaged_is_not_served(root: Path, harm: Callable[[Path], None]) -> None:
    export = read_inputs(Stage("register", root)).exports["quantized"]
    save_served(root, export, make_serving(notes_of(export.spec.task)), "card", "m-1")
    mlflow.pyfunc.load_model(str(root / "model"))
    harm(root / "model/artifacts/model.onnx")
    with pytest.raises(ValueError, match=r"model\.onnx: not the file that was registered: it is damaged"):
        mlflow.pyfunc.load_model(str(root / "model"))


def test_the_stored_folder_has_no_pickle_no_local_path_and_runs_without_espalier(
    root: Path, tmp_path: Path
) -> None:
    register_now(root)
    folder = min(path.parent for path in (root / ".espalier/mlflow/artifacts").rglob("MLmodel"))
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {
        "MLmodel",
        "model.py",
        "artifacts/classification_answer.py",
        "artifacts/model.onnx",
        "artifacts/seal.json",
        "artifacts/model.json",
        "artifacts/README.md",
    } <= names
    assert pickles(folder) == []
    assert not any(name.endswith(".pyc") for name in names)
    texts = [
        path.read_text()
        for path in folder.rglob("*")
        if path.suffix in {"", ".yaml", ".txt", ".json", ".md", ".py"} and path.is_file()
    ]
    assert not any(place in text for text in texts for place in (str(root), str(README.parent)))
    code = f"""import sys
sys.modules["pipeline"] = None  # so that its import fails
import mlflow, numpy
model = mlflow.pyfunc.load_model({str(folder)!r})
print(len(model.predict(numpy.zeros((3, 1, 2, 4), numpy.uint8))))"""
    environment = {**os.environ, "PYTHONPATH": "", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "3", done.stderr


def test_what_readme_and_the_card_print_works_as_printed_also_after_a_move(tmp_path: Path) -> None:
    made = evaluated_project(tmp_path / "project", shape=(1, 8, 8))
    versions = register_now(made, model_name="digits").versions
    root = made.rename(tmp_path / "moved")
    assert register_now(root, model_name="digits").versions == versions
    client = connect(root).client
    card = str(client.get_model_version_by_alias("digits", "champion").description)
    assert str(made) not in card
    snippets = [
        snippet(card),
        *(text for text in python_blocks(README.read_text()) if "models:/digits@champion" in text),
    ]
    assert len(snippets) == 2
    before = files(tmp_path)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "PYTHON"))
    }
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(snippets)],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("probability") == 2
    assert files(tmp_path) == before


def snippet(text: str) -> str:
    (block,) = python_blocks(text)
    return block


def python_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def files(folder: Path) -> set[Path]:
    """All but what MLflow notes in a stored model's own folder when it loads it."""
    return {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if ".espalier/mlflow/artifacts/models" not in path.as_posix()
    }


def test_versions_that_another_tool_made_or_edited_stop_nothing(root: Path) -> None:
    register_now(root)
    client = connect(root).client
    foreign = client.create_model_version("tiny", str(root), tags={"score": "high"}).version
    client.set_registered_model_alias("tiny", "prod", foreign)
    assert "version 4  made by another tool  @prod" in summary_after(root)
    no_figures, by_hand = "the champion has no figures to compare", "version 4 was made champion by hand"
    edited = {"score": "very high", "latency_ms": ""}
    for champion, tags, reason in (("3", edited, no_figures), (foreign, {}, by_hand)):
        for name, value in tags.items():
            client.set_model_version_tag("tiny", champion, name, value)
        client.set_registered_model_alias("tiny", "champion", champion)
        evaluate(root, "quantized", seed=20 + int(champion), score=0.99)
        assert reason in register_now(root).champion.reason
        assert aliases(root)["champion"] == int(champion)
        assert "@champion" in summary_after(root)


def test_a_report_that_lacks_a_key_is_named(root: Path) -> None:
    (root / "reports/pruned/latency.json").write_text('{"device": "CPU x"}')
    seal(root, "pruned")
    with pytest.raises(ArtifactError, match=r"reports/pruned/latency\.json: threads: field required"):
        read_inputs(Stage("register", root))


def test_a_registry_that_does_not_answer_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with pytest.raises(
        UnreachableError, match=rf"MLflow at http://127\.0\.0\.1:{port} does not answer; start it"
    ):
        register_now(root)
    assert "not known now: MLflow at" in summary_after(root)


def summary_after(root: Path) -> str:
    (root / "reports/verdict.json").write_text('{"model_name": "tiny"}')
    return summary(root)


def test_a_server_holds_runs_and_versions_as_the_local_database_does(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server starts while the first stage is running: what waited in the journal arrives, once, and no
    secret with it.
    """
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{CANARIES[0]}@127.0.0.1:{port}")
    for name, canary in zip(("AWS_SECRET_ACCESS_KEY", "SOME_API_TOKEN"), CANARIES[1:3], strict=True):
        monkeypatch.setenv(name, canary)
    subprocess.run(["git", "init", "-q", root], check=True)
    subprocess.run(
        ["git", "remote", "add", "origin", f"https://me:{CANARIES[3]}@example.org/x.git"],
        cwd=root,
        check=True,
    )
    prepare, stage = Stage("prepare", root), Stage("register", root)
    with ExitStack() as server:
        with tracked(prepare, ThreadCourier) as report:
            report.metrics({"rows": 1}, step=1)
            server.enter_context(mlflow_server(tmp_path / "server", port))
            report.metrics({"rows": 2}, step=2)
        store = connect(root)
        run = store.find(run_key("prepare", prepare.key))
        assert run is not None
        assert [point.step for point in store.client.get_metric_history(run, "rows")] == [1, 2]
        for _ in range(2):
            with tracked(stage, ThreadCourier) as report:
                main(stage, report)
        pipeline = store.find(stage.pipeline_key())
        assert pipeline is not None
        assert [point.value for point in store.client.get_metric_history(pipeline, "dense/score")] == [0.98]
        assert [file.path for file in store.client.list_artifacts(pipeline, "reports")] == [
            "reports/verdict.json"
        ]
        assert aliases(root) == {"dense": 1, "candidate": 3, "champion": 3}
        assert sync(root).points == 0
        (brought := tmp_path / "brought").mkdir()  # MLflow would leave a folder in /tmp
        with mlflow_address(f"http://127.0.0.1:{port}"):
            loaded = mlflow.pyfunc.load_model("models:/tiny@champion", dst_path=str(brought))
        assert len(loaded.predict(IMAGES)) == len(IMAGES)
    left = [path for folder in (root, tmp_path / "server") for path in folder.rglob("*") if path.is_file()]
    left = [path for path in left if ".git" not in path.parts]
    assert {"server.db", "server.log", "verdict.json", "MLmodel", "README.md"} <= {path.name for path in left}
    assert {".jsonl", ".json", ".onnx"} <= {path.suffix for path in left}
    assert [path for path in left if any(canary.encode() in path.read_bytes() for canary in CANARIES)] == []
