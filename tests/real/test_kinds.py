"""Any of several classes, a number, and three problems at once, on real photographs: `dvc repro` from a
table to the registry, and every figure against scikit-learn's on the same answers.
"""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
import yaml
from sklearn import metrics as sk

from pipeline.base.stage import PREPARED_DATA
from pipeline.data.prepared.reader import Split
from tests.support.answers import expected, problems
from tests.support.places import ROOT
from tests.support.project import TINY, Project, fresh_project, merged, read_json
from tests.support.real_tables import BLOOD, STREETS, blood_cells, streets

VARIANTS = ("dense", "pruned", "finetuned", "quantized")
HALF = 0.5
CLASSIFICATION = {"name": "classification", "label_smoothing": 0.0, "class_weights": "none"}
MULTILABEL = {"name": "multilabel", "class_weights": "none"}
REGRESSION = {"name": "regression", "loss": "huber"}
SMALL: dict[str, Any] = {
    "train": {"epochs": 40, "augment": {"crop_padding": 2}},
    "finetune": {"epochs": 15, "augment": {"crop_padding": 2}},
    "evaluate": {"latency": {"warmup": 1, "repeats": 5}},
    "register": TINY["register"] | {"max_export_diff": 1.0},
    "quantize": {"calibration_images": 100, "max_drop": 1.0},
}
SERVE = """
import sys, mlflow, numpy as np
model = mlflow.pyfunc.load_model("models:/heads@champion")
model.predict(np.load(sys.argv[1])).to_json(sys.argv[2], orient="records")
"""
pytestmark = pytest.mark.skipif(
    not (BLOOD.exists() and STREETS.exists()), reason=f"needs photographs in {BLOOD} and {STREETS}"
)


def values_of(kind: str, project: Project) -> dict[str, Any]:
    """params.yaml of a line about one kind of problem, whose table this makes."""
    raw = project.root / "data/raw"
    raw.mkdir(parents=True, exist_ok=True)
    values = merged(yaml.safe_load((ROOT / "presets/heads.yaml").read_text()), SMALL)
    if kind == "multilabel":
        columns = streets(raw / "table.parquet")
        values["data"]["targets"] = {"label": {"field": "classes", "columns": columns}}
        values["task"] = MULTILABEL
        return values
    blood_cells(raw)
    values["data"]["source"]["path"] = "data/raw"
    values["data"]["split"] |= {"val_fraction": 0.0, "test_fraction": 0.0}
    if kind == "regression":
        values["data"]["targets"] = {"label": {"field": "number", "column": "count"}}
        values["task"] = REGRESSION
        return values
    values["data"]["targets"] = {
        "kinds": {"field": "classes", "columns": ["kinds"]},
        "count": {"field": "number", "column": "count"},
        "density": {"field": "class", "column": "density"},
    }
    values["train"] = merged(values["train"], {"epochs": 70, "optimizer": {"lr": 0.05}})
    values["task"]["heads"] = {
        "kinds": {"weight": 1.0, "task": MULTILABEL},
        "count": {"weight": 1.0, "task": REGRESSION},
        "density": {"weight": 1.0, "task": CLASSIFICATION},
    }
    return values


@pytest.fixture(scope="module", params=["multilabel", "regression", "heads"])
def line(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    root = tmp_path_factory.mktemp(request.param) / "project"
    root.mkdir()
    with fresh_project(root) as project:
        project.write_params(values_of(request.param, project))
        project.run("dvc", "repro").expect_success()
        yield project


def answers(project: Project, variant: str, name: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
    """Raw outputs of an exported file for a split, and what is right."""
    split = Split.open(project.root / PREPARED_DATA, name)
    session = onnxruntime.InferenceSession(
        str(project.root / f"exported/{variant}/model.onnx"), providers=["CPUExecutionProvider"]
    )
    pixels = split.images(torch.arange(len(split))).numpy().astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    given = session.run(names, {session.get_inputs()[0].name: pixels})
    return dict(zip(names, given, strict=True)), {key: value.numpy() for key, value in split.targets.items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_figure_is_scikit_learns(line: Project, variant: str) -> None:
    reported = read_json(line.root / f"reports/{variant}/metrics.json")
    notes = read_json(line.root / f"artifacts/{variant}/model.json")["task"]
    outputs, targets = answers(line, variant)
    for prefix, output, target, each in problems(notes):
        for name, value in expected(each, outputs[output], targets[target]).items():
            assert reported[prefix + name] == pytest.approx(value, abs=2e-5), prefix + name


def test_it_learnt(line: Project) -> None:
    """Better than an answer that is the same for all photographs."""
    notes = read_json(line.root / "artifacts/dense/model.json")["task"]
    reported = read_json(line.root / "reports/dense/metrics.json")
    _, targets = answers(line, "dense")
    for prefix, _, target, each in problems(notes):
        truth = targets[target]
        if each["name"] == "regression":
            assert reported[f"{prefix}r2"] > 0.0
        elif each["name"] == "multilabel":
            seen = truth.any(axis=0)
            assert reported[f"{prefix}map"] > truth[:, seen].mean(axis=0).mean()
        else:
            assert reported[f"{prefix}top1"] > np.bincount(truth).max() / len(truth)


def test_thresholds_are_chosen_on_validation_answers(line: Project) -> None:
    notes = read_json(line.root / "artifacts/finetuned/model.json")["task"]
    outputs, targets = answers(line, "finetuned", "val")
    for _, output, target, each in problems(notes):
        if each["name"] != "multilabel":
            continue
        probabilities = 1 / (1 + np.exp(-outputs[output].astype(np.float64)))
        for number, threshold in enumerate(each["thresholds"]):
            truth, given = targets[target][:, number], probabilities[:, number]
            chosen = sk.f1_score(truth, given >= threshold, zero_division=0.0)
            tried = [sk.f1_score(truth, given >= value, zero_division=0.0) for value in np.unique(given)]
            assert chosen == pytest.approx(max(tried), abs=0.02), "but for the rounding of the export"


def test_it_was_pruned_quantized_and_compared(line: Project) -> None:
    dense, finetuned, quantized = (
        read_json(line.root / f"reports/{variant}/metrics.json")
        for variant in ("dense", "finetuned", "quantized")
    )
    assert finetuned["macs"] <= HALF * dense["macs"]
    assert quantized["size_bytes"] < HALF * finetuned["size_bytes"]
    loss = read_json(line.root / "reports/quantized/lost/lost.json")
    assert loss["against"]["dense"]["worst_group"]["name"]
    assert list((line.root / "reports/dense/pictures").glob("*.png"))


def test_the_champion_answers_through_mlflow(line: Project, tmp_path: Path) -> None:
    split = Split.open(line.root / PREPARED_DATA, "test")
    np.save(tmp_path / "pixels.npy", split.images(torch.arange(len(split))).numpy())
    line.run(
        sys.executable,
        "-P",
        "-c",
        SERVE,
        str(tmp_path / "pixels.npy"),
        str(tmp_path / "answers.json"),
        MLFLOW_TRACKING_URI=f"sqlite:///{line.root}/.espalier/mlflow/mlflow.db",
        MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false",
    ).expect_success()
    served = pd.read_json(io.StringIO((tmp_path / "answers.json").read_text()))
    notes = read_json(line.root / "artifacts/quantized/model.json")["task"]
    outputs, _ = answers(line, "quantized")
    for prefix, output, _, each in problems(notes):
        column, given = prefix.replace("/", "_"), outputs[output]
        if each["name"] == "regression":
            number = given[:, 0] * each["std"] + each["mean"]
            assert served[f"{column}value"].to_numpy() == pytest.approx(number, abs=1e-4)
        elif each["name"] == "classification":
            assert served[f"{column}class_index"].tolist() == given.argmax(axis=1).tolist()
        else:
            found = 1 / (1 + np.exp(-given)) >= np.array(each["thresholds"])
            names = [
                [name for name, is_in in zip(each["classes"], row, strict=True) if is_in] for row in found
            ]
            assert [json.loads(labels) for labels in served[f"{column}labels"]] == names
