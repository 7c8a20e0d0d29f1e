"""A registered model of each kind, loaded by MLflow as its users load it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipeline.tasks.serving.classification import ClassificationServing
from pipeline.tasks.serving.serving import make_serving
from tests.support import damage
from tests.support.problems import KIND
from tests.support.served_samples import HEADS, IMAGES, NOTES, SIZE, TRAITS, numbers_of, saved_model

pytestmark = [  # as pipeline/tracking/store.py; MLflow warns of itself while it is imported
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]
LOADED = """import json, sys
sys.modules["pipeline"] = None  # so that its import fails
import mlflow, numpy
images = numpy.array(json.load(sys.stdin), numpy.uint8)
for folder in sys.argv[1:]:
    print(mlflow.pyfunc.load_model(folder).predict(images).to_json(orient="split", double_precision=15))
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("served")
    return {kind: saved_model(folder / kind, kind) for kind in NOTES}


@pytest.fixture(scope="module")
def answers(models: dict[str, Path]) -> dict[str, Any]:
    """By kind of model: its columns and rows, as another process without Espalier gets them."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOADED, *map(str, models.values())],
        input=json.dumps(IMAGES.tolist()),
        env={**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(models, map(json.loads, done.stdout.splitlines()), strict=True))


def classes_of(logits: Any) -> list[list[Any]]:
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return [
        [KIND.classes[row.argmax()], int(row.argmax()), pytest.approx(row.max(), rel=1e-5)]
        for row in probabilities
    ]


def labels_of(logits: Any) -> list[list[Any]]:
    """With JSON as what it says."""
    rows = []
    for row in 1 / (1 + np.exp(-logits)):
        given = [
            name for name, p, least in zip(TRAITS.classes, row, TRAITS.thresholds, strict=True) if p >= least
        ]
        rows.append([given, pytest.approx(dict(zip(TRAITS.classes, row, strict=True)), abs=2e-6)])
    return rows


def values_of(numbers: Any) -> list[list[Any]]:
    return [[pytest.approx(row[0] * SIZE.std + SIZE.mean, rel=1e-5)] for row in numbers]


def test_a_classifier_gives_a_class(answers: dict[str, Any]) -> None:
    found = answers["classification"]
    assert found["columns"] == ["label", "class_index", "probability"]
    assert found["data"] == classes_of(numbers_of("classification")["logits"])


def test_any_of_several_labels_come_as_json(answers: dict[str, Any]) -> None:
    found = answers["multilabel"]
    assert found["columns"] == ["labels", "probabilities"]
    assert [[json.loads(text) for text in row] for row in found["data"]] == labels_of(
        numbers_of("multilabel")["logits"]
    )


def test_a_number_comes_in_the_unit_of_its_target(answers: dict[str, Any]) -> None:
    found = answers["regression"]
    assert found["columns"] == ["value"]
    assert found["data"] == values_of(numbers_of("regression")["value"])


def test_every_head_has_its_columns_whatever_the_order_of_the_outputs(answers: dict[str, Any]) -> None:
    found, numbers = answers["heads"], numbers_of("heads")
    assert found["columns"] == [
        *("kind_label", "kind_class_index", "kind_probability"),
        "size_value",
        *("traits_labels", "traits_probabilities"),
    ]
    assert [row[:3] for row in found["data"]] == classes_of(numbers["kind"])
    assert [row[3:4] for row in found["data"]] == values_of(numbers["size"])
    assert [[json.loads(text) for text in row[4:]] for row in found["data"]] == labels_of(numbers["traits"])


@pytest.mark.parametrize("kind", NOTES)
def test_the_signature_and_the_stored_files_are_those_of_the_kind(kind: str, models: dict[str, Path]) -> None:
    loaded = mlflow.pyfunc.load_model(str(models[kind]))
    found = loaded.predict(IMAGES)
    assert isinstance(found, pd.DataFrame)
    promised = loaded.metadata.signature.outputs
    assert promised.input_names() == list(found) == list(make_serving(NOTES[kind]).columns)
    types = {"string": {str}, "long": {int}, "double": {float}}
    for column in promised.inputs:
        assert {type(value) for value in found[column.name].tolist()} == types[column.type.name]
    heads = [head.task.name for head in HEADS.heads.values()] if kind == "heads" else [kind]
    names = {path.name for path in models[kind].rglob("*") if path.is_file()}
    assert {name for name in names if name.endswith(".py")} == {
        "model.py",
        *(f"{each}_answer.py" for each in heads),
    }
    assert {name.split(".")[0] for name in names if name.endswith(".pyc")} <= {"model"}, "MLflow's own"


def test_it_answers_no_image_and_images_of_any_type(models: dict[str, Path]) -> None:
    for kind in NOTES:
        model = mlflow.pyfunc.load_model(str(models[kind])).unwrap_python_model()
        assert len(model.predict(None, IMAGES[:0])) == 0
        pd.testing.assert_frame_equal(
            model.predict(None, IMAGES.astype(np.float64)), model.predict(None, IMAGES)
        )


@pytest.mark.parametrize("name", ["model.onnx", "model.json", "kind_answer"])
@pytest.mark.parametrize("harm", [damage.flip, damage.truncate, damage.zero])
def test_a_damaged_file_is_refused(name: str, harm: Callable[[Path], None], tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "m", "classification")
    name = name.replace("kind_answer", "classification_answer.py")
    harm(folder / "artifacts" / name)
    with pytest.raises(ValueError, match=rf"{name}: not the file that was registered: it is damaged"):
        mlflow.pyfunc.load_model(str(folder))


def test_two_models_in_one_process_answer_each_with_its_own_code(
    models: dict[str, Path], tmp_path: Path
) -> None:
    own = ClassificationServing.code[0]
    later = tmp_path / own.name
    later.write_text(own.read_text().replace('notes["classes"][index]', 'notes["classes"][index].upper()'))

    class LaterServing(ClassificationServing):
        code: ClassVar[tuple[Path, ...]] = (later,)

    others = saved_model(tmp_path / "later", "classification", LaterServing(KIND))
    before = [*sys.path]
    first, second, third = (
        mlflow.pyfunc.load_model(str(each)) for each in (models["classification"], others, models["heads"])
    )
    labels = list(first.predict(IMAGES)["label"])
    assert list(second.predict(IMAGES)["label"]) == [label.upper() for label in labels]
    assert list(first.predict(IMAGES)["label"]) == labels
    assert set(third.predict(IMAGES)["kind_label"]) <= set(KIND.classes)
    assert own.stem not in sys.modules
    assert sys.path == before
