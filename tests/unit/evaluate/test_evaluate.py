"""One variant measured whole: every out is there, says the same twice, and belongs to the deployed file."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from sklearn.metrics import log_loss

from pipeline.data.fields.one_class import ClassField
from pipeline.data.prepared.manifest import read_manifest, write_manifest
from pipeline.data.prepared.reader import Split
from pipeline.errors import ArtifactError, EspalierError
from pipeline.evaluate.evaluate import EvaluationOuts, evaluate
from pipeline.evaluate.params import EvaluateParams, LatencyParams
from pipeline.export.params import Format
from pipeline.export.session import OnnxModel
from pipeline.models.cost import count_macs, count_params
from pipeline.models.disk.weights import load_model
from pipeline.quantize.quantize import quantize
from pipeline.tasks.judging.classification import softmax
from tests.support.compress_samples import (
    CLASSES,
    ROWS,
    TASK_PARAMS,
    prepared_data,
    quantize_params,
    saved,
    spec_of,
    trained,
)
from tests.support.pickles import pickles

TEXTS = ("metrics", "scores", "seal")


def evaluate_params(exports: list[Format] | None = None) -> EvaluateParams:
    latency = LatencyParams(batches=[1], warmup=1, repeats=20, threads=1)
    return EvaluateParams(
        batch_size=16,
        parity_images=10,
        exports=exports or [],
        calibration_bins=5,
        worst_images=9,
        tta="flip_shift",
        slices=[],
        latency=latency,
    )


def outs_in(folder: Path) -> EvaluationOuts:
    reports = folder / "reports"
    return EvaluationOuts(
        exported=folder / "exported",
        metrics=reports / "metrics.json",
        scores=reports / "scores.csv",
        tables=reports / "tables",
        pictures=reports / "pictures",
        seal=reports / "seal.json",
    )


@dataclass(frozen=True)
class Variants:
    data: Path
    floats: Path
    ints: Path
    outs: EvaluationOuts
    metrics: dict[str, float]


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Variants:
    folder = tmp_path_factory.mktemp("evaluate")
    data = prepared_data(folder / "data")
    spec = spec_of("vgg11", width=4)
    saved(folder / "finetuned", spec, trained(spec, data, steps=12))
    outs = outs_in(folder / "floats")
    metrics = evaluate(
        folder / "finetuned", data, outs, evaluate_params(["fp16", "bf16", "pt2"]), TASK_PARAMS
    )
    quantize(
        folder / "finetuned", outs.exported / "model.onnx", data, folder / "quantized", quantize_params()
    )
    return Variants(data, folder / "finetuned", folder / "quantized", outs, metrics)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def loaded(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_metrics_are_those_of_the_deployed_file(variants: Variants) -> None:
    test = Split.open(variants.data, "test")
    model = OnnxModel(variants.outs.exported / "model.onnx", threads=1)
    logits = model.answer(test.images(torch.arange(len(test))).numpy())["logits"]
    labels = test.targets["label"].numpy()
    metrics = loaded(variants.outs.metrics)
    assert metrics == variants.metrics
    assert metrics["score"] == metrics["top1"] == (logits.argmax(axis=1) == labels).mean()
    assert metrics["top5"] == 1.0  # of three classes
    assert metrics["loss"] == pytest.approx(log_loss(labels, softmax(logits)), rel=1e-5)
    recalls = [(logits.argmax(axis=1)[labels == label] == label).mean() for label in range(len(CLASSES))]
    assert metrics["worst_class_recall"] == min(recalls)


def test_tta_is_the_mean_answer_to_moved_and_mirrored_images(variants: Variants) -> None:
    """The formula with torch's padding: half for the image, a quarter for each shift by a pixel, mirror
    images the same.
    """
    test = Split.open(variants.data, "test")
    images = test.images(torch.arange(len(test)))
    padded = torch.nn.functional.pad(images.float(), (1, 1, 1, 1), mode="reflect")
    moved = [(0.5, images.float()), (0.25, padded[:, :, 2:, 2:]), (0.25, padded[:, :, :-2, :-2])]
    model = OnnxModel(variants.outs.exported / "model.onnx", threads=1)
    mean = sum(
        share * (model.answer(x.numpy())["logits"] + model.answer(x.flip(3).numpy())["logits"]) / 2
        for share, x in moved
    )
    assert (
        loaded(variants.outs.metrics)["score_tta"]
        == (np.asarray(mean).argmax(axis=1) == test.targets["label"].numpy()).mean()
    )


def test_metrics_hold_cost_and_parity(variants: Variants) -> None:
    _, model = load_model(variants.floats)
    metrics = loaded(variants.outs.metrics)
    assert metrics["macs"] == count_macs(model, torch.zeros(1, 3, 8, 8))
    assert metrics["params"] == count_params(model)
    assert metrics["size_bytes"] == (variants.outs.exported / "model.onnx").stat().st_size
    assert metrics["parity_max_diff"] < 1e-4
    assert metrics["parity_agreement"] == 1.0
    files = loaded(variants.outs.exported / "parity.json")["files"]
    assert files.pop("model.onnx") == {
        "against": "the torch model",
        "run_by": "onnxruntime on the CPU",
        "max_diff": metrics["parity_max_diff"],
        "agreement": 1.0,
        "images": 10,
    }
    assert set(files) == {"model.fp16.onnx", "model.bf16.onnx", "model.pt2"}


def test_other_formats_are_checked_on_images_and_half_as_large(variants: Variants) -> None:
    exports = loaded(variants.outs.exported / "parity.json")["files"]
    exact = exports["model.onnx"]["max_diff"]
    assert exports["model.pt2"]["max_diff"] <= exact + 1e-5
    assert exact < exports["model.fp16.onnx"]["max_diff"] < exports["model.bf16.onnx"]["max_diff"] < 0.5
    assert exports["model.fp16.onnx"]["agreement"] > 0.9
    assert exports["model.fp16.onnx"]["images"] == exports["model.pt2"]["images"] == 10
    assert exports["model.bf16.onnx"]["images"] == 8
    assert "reference evaluator" in exports["model.bf16.onnx"]["run_by"]
    sizes = {path.name: path.stat().st_size for path in variants.outs.exported.iterdir()}
    assert sizes["model.fp16.onnx"] < 0.6 * sizes["model.onnx"]
    assert sizes["model.bf16.onnx"] < 0.6 * sizes["model.onnx"]
    for name in ("model.fp16.onnx", "model.bf16.onnx"):
        onnx.checker.check_model(onnx.load(variants.outs.exported / name), full_check=True)
    program = (variants.outs.exported / "model.pt2").read_bytes()
    assert str(Path.cwd()).encode() not in program
    assert b"site-packages" not in program


def test_the_program_for_torch_holds_no_pickle(variants: Variants, tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes((variants.outs.exported / "model.pt2").read_bytes())
    assert pickles(tmp_path) == []


def test_a_half_precision_file_still_takes_pixels_and_names_its_classes(variants: Variants) -> None:
    model = OnnxModel(variants.outs.exported / "model.fp16.onnx", threads=1)
    assert json.loads(model.metadata["task"])["classes"] == CLASSES
    assert model.answer(np.zeros((3, 3, 8, 8), np.uint8))["logits"].dtype == np.float32


def test_tables_agree_with_the_metrics(variants: Variants) -> None:
    answers = table(variants.outs.scores)
    metrics = loaded(variants.outs.metrics)
    assert [row["row"] for row in answers] == [str(number) for number in range(ROWS["test"])]
    assert [float(row["score"]) for row in answers] == [row["truth"] == row["answer"] for row in answers]
    assert np.mean([float(row["score"]) for row in answers]) == metrics["score"]
    assert all(1 / len(CLASSES) <= float(row["confidence"]) <= 1 for row in answers)
    classes = table(variants.outs.tables / "classes.csv")
    assert [row["class"] for row in classes] == CLASSES
    assert min(float(row["recall"]) for row in classes) == metrics["worst_class_recall"]
    bins = table(variants.outs.tables / "reliability.csv")
    assert sum(int(row["count"]) for row in bins) == ROWS["test"]
    gaps = [abs(float(row["confidence"]) - float(row["accuracy"])) * int(row["count"]) for row in bins]
    assert sum(gaps) / ROWS["test"] == pytest.approx(metrics["ece"])


def test_pictures_are_there(variants: Variants) -> None:
    names = sorted(path.name for path in variants.outs.pictures.iterdir())
    assert names == ["confusion.png", "reliability.png", "worst.png"]


def test_again_gives_the_same_bytes(variants: Variants, tmp_path: Path) -> None:
    outs = outs_in(tmp_path)
    evaluate(variants.floats, variants.data, outs, evaluate_params(["fp16", "bf16", "pt2"]), TASK_PARAMS)
    for name in TEXTS:
        assert getattr(outs, name).read_bytes() == getattr(variants.outs, name).read_bytes()
    for folder in ("exported", "tables", "pictures"):
        again, first = getattr(outs, folder), getattr(variants.outs, folder)
        assert sorted(path.name for path in again.iterdir()) == sorted(path.name for path in first.iterdir())
        assert all(path.read_bytes() == (first / path.name).read_bytes() for path in again.iterdir())


def test_an_int8_artifact_is_deployed_as_it_is(variants: Variants, tmp_path: Path) -> None:
    outs = outs_in(tmp_path)
    metrics = evaluate(variants.ints, variants.data, outs, evaluate_params(), TASK_PARAMS)
    assert (outs.exported / "model.onnx").read_bytes() == (variants.ints / "model.onnx").read_bytes()
    assert (outs.exported / "parity.json").read_bytes() == (variants.ints / "parity.json").read_bytes()
    found = loaded(outs.exported / "parity.json")["files"]["model.onnx"]
    assert found["against"] == "the float export, when quantized"
    assert found["images"] == ROWS["val"]
    assert metrics["parity_agreement"] == found["agreement"] > 0.8
    assert metrics["macs"] == variants.metrics["macs"]
    assert metrics["size_bytes"] < variants.metrics["size_bytes"]


def test_data_with_other_classes_are_refused(variants: Variants, tmp_path: Path) -> None:
    data = prepared_data(tmp_path / "data")
    manifest = read_manifest(data)
    fields = manifest.fields | {"label": ClassField(classes=["x", "y", "z"])}
    write_manifest(data, manifest.model_copy(update={"fields": fields}))
    with pytest.raises(
        ArtifactError, match=r"it answers with left, right, top, but .* asks for x, y, z; train on these data"
    ):
        evaluate(variants.floats, data, outs_in(tmp_path), evaluate_params(), TASK_PARAMS)


def test_a_failure_leaves_the_old_outs(variants: Variants, tmp_path: Path) -> None:
    outs = outs_in(tmp_path)
    outs.metrics.parent.mkdir(parents=True)
    outs.metrics.write_text("old")
    corrupt = tmp_path / "corrupt"
    corrupt.mkdir()
    for file in variants.ints.iterdir():
        content = bytearray(file.read_bytes())
        if file.suffix == ".onnx":
            content[len(content) // 2] ^= 1
        (corrupt / file.name).write_bytes(content)
    with pytest.raises(EspalierError, match=r"model.onnx: its SHA-256 is"):
        evaluate(corrupt, variants.data, outs, evaluate_params(), TASK_PARAMS)
    assert outs.metrics.read_text() == "old"
    assert not outs.exported.exists()
