"""Three heads of three kinds on real digits, by the functions of the stages: every figure of every variant is
scikit-learn's, and each step is compared with the one before it.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.compare.compare import Compared, ComparisonOuts, Evaluated, compare
from pipeline.data.intake.prepare import prepare
from pipeline.data.prepared.reader import Split
from pipeline.evaluate.evaluate import EvaluationOuts, evaluate
from pipeline.evaluate.params import EvaluateParams
from pipeline.export.session import OnnxModel
from pipeline.models.description.params import ModelParams
from pipeline.models.disk.artifact import read_spec
from pipeline.prune.prune import prune
from pipeline.quantize.quantize import quantize
from pipeline.tasks.description.params import TaskParams, notes_of
from pipeline.tasks.training.task import make_task
from pipeline.train.job import Job, Site, child_job, dense_job
from pipeline.train.loop import fit
from pipeline.train.params import FitParams
from pipeline.train.transport.collect import collect_result
from tests.support.answers import expected, problems
from tests.support.compress_samples import fixed_profile, prune_params, quantize_params
from tests.support.data_samples import data_params
from tests.support.fit_samples import BASE
from tests.support.project import read_json

TARGETS = {
    "traits": {"field": "classes", "columns": ["traits"]},
    "value": {"field": "number", "column": "value"},
    "digit": {"field": "class", "column": "digit"},
}
TASK = TaskParams.model_validate(
    {
        "name": "heads",
        "heads": {
            "traits": {"weight": 1.0, "task": {"name": "multilabel", "class_weights": "balanced"}},
            "value": {"weight": 0.5, "task": {"name": "regression", "loss": "huber"}},
            "digit": {
                "weight": 2.0,
                "task": {"name": "classification", "label_smoothing": 0.0, "class_weights": "none"},
            },
        },
    }
)
NETWORK = ModelParams(name="vgg11", width=8, dropout=0.0, stochastic_depth=0.0, init="random")
TRAITS = {"even": (0, 2, 4, 6, 8), "round": (0, 6, 8, 9), "large": (5, 6, 7, 8, 9)}
VARIANTS = ("dense", "pruned", "finetuned", "quantized")
EVALUATION = EvaluateParams.model_validate(
    {
        "batch_size": 64,
        "parity_images": 20,
        "calibration_bins": 5,
        "worst_images": 4,
        "tta": "none",
        "slices": [],
        "exports": [],
        "latency": {"batches": [1], "warmup": 1, "repeats": 20, "threads": 1},
    }
)


@dataclass(frozen=True)
class Line:
    folder: Path
    figures: Mapping[str, dict[str, float]]
    compared: Compared


def digits_table(file: Path) -> Path:
    """A digit each with its traits, its value and its name."""
    found = load_digits()
    images = [io.BytesIO() for _ in found.target]
    for image, pixels in zip(images, found.images, strict=True):
        Image.fromarray((pixels * 15).astype(np.uint8)).save(image, "PNG")
    labels = found.target.tolist()
    columns = {
        "image": [image.getvalue() for image in images],
        "traits": [[name for name, members in TRAITS.items() if digit in members] for digit in labels],
        "value": [float(digit) for digit in labels],
        "digit": [str(digit) for digit in labels],
    }
    pq.write_table(pa.table(columns), file)
    return file


def trained(the_job: Job, out: Path) -> None:
    fit(the_job, "cpu", 1)
    collect_result(the_job, out, out.parent / f"{out.name}.csv")


def outs_of(folder: Path, name: str) -> EvaluationOuts:
    reports = folder / "reports" / name
    return EvaluationOuts(
        folder / "exported" / name,
        reports / "metrics.json",
        reports / "scores.csv",
        reports / "tables",
        reports / "pictures",
        reports / "seal.json",
    )


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = tmp_path_factory.mktemp("kinds")
    data, models = folder / "prepared", folder / "artifacts"
    params = data_params(targets=TARGETS, height=8, width=8, channels=1, shard_rows=1000)
    prepare(params, digits_table(folder / "digits.parquet"), data, folder / "card")
    fit_params = FitParams.model_validate(BASE | {"epochs": 5})
    site = Site(run_dir=folder / "run", journal=folder / "journal.jsonl", checkpoint_s=30.0)
    trained(dense_job(NETWORK, fit_params, TASK, data, None, site), models / "dense")
    task = make_task(TASK, notes_of(read_spec(models / "dense").task))
    prune(models / "dense", data, models / "pruned", prune_params(), fixed_profile(4), task)
    tuning = fit_params.model_copy(update={"epochs": 2})
    further = child_job(
        models / "pruned",
        tuning,
        TASK,
        site.at(folder / "tuning"),
        data=data,
        dense=models / "dense",
        teacher_folder=folder / "none",
    )
    trained(further, models / "finetuned")
    figures = {name: evaluated(folder, name) for name in VARIANTS[:-1]}
    floats = folder / "exported/finetuned/model.onnx"
    quantize(models / "finetuned", floats, data, models / "quantized", quantize_params(max_drop=1.0))
    figures["quantized"] = evaluated(folder, "quantized")
    return Line(folder, figures, compared(folder))


def evaluated(folder: Path, name: str) -> dict[str, float]:
    artifact = folder / "artifacts" / name
    return evaluate(artifact, folder / "prepared", outs_of(folder, name), EVALUATION, TASK)


def compared(folder: Path) -> Compared:
    places = {name: outs_of(folder, name) for name in VARIANTS}
    variants = {
        name: Evaluated(each.exported / "model.onnx", each.scores, each.metrics, each.seal)
        for name, each in places.items()
    }
    lost = {name: folder / "reports" / name / "lost" for name in VARIANTS[1:]}
    latency = {name: folder / "reports" / name / "latency.json" for name in VARIANTS}
    outs = ComparisonOuts(latency=latency, lost=lost, seal=folder / "reports/seal.json")
    return compare(variants, folder / "prepared", outs, EVALUATION, TASK)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_figure_is_scikit_learns(line: Line, variant: str) -> None:
    notes: dict[str, Any] = read_json(line.folder / "artifacts" / variant / "model.json")["task"]
    test = Split.open(line.folder / "prepared", "test")
    model = OnnxModel(line.folder / "exported" / variant / "model.onnx", threads=1)
    outputs = model.answer(test.images(torch.arange(len(test))).numpy())
    for prefix, output, target, each in problems(notes):
        for name, value in expected(each, outputs[output], test.targets[target].numpy()).items():
            assert line.figures[variant][prefix + name] == pytest.approx(value, abs=1e-5), prefix + name
    weights = {"traits": 1.0, "value": 0.5, "digit": 2.0}
    mean = sum(line.figures[variant][f"{head}/score"] * weight for head, weight in weights.items()) / 3.5
    assert line.figures[variant]["score"] == pytest.approx(mean, abs=1e-6)


def test_every_head_learns(line: Line) -> None:
    dense = line.figures["dense"]
    assert dense["digit/top1"] > 0.8
    assert dense["traits/map"] > 0.9
    assert dense["value/r2"] > 0.6


def test_thresholds_of_the_heads_travel_with_the_model(line: Line) -> None:
    found = {
        name: read_json(line.folder / "artifacts" / name / "model.json")["task"]["heads"]["traits"]["task"]
        for name in VARIANTS
    }
    assert found["pruned"] == found["dense"] != found["finetuned"] == found["quantized"]
    assert set(found["dense"]["thresholds"]) != {0.5}


def test_a_step_is_compared_over_all_heads(line: Line) -> None:
    loss = line.compared.loss["quantized"].against["finetuned"]
    before, now = line.figures["finetuned"]["score"], line.figures["quantized"]["score"]
    assert loss.score.change == pytest.approx(now - before, abs=1e-5)
    assert loss.worst_group is not None
    assert loss.worst_group.name.split(":")[0] in TARGETS
    assert 0.5 < loss.agreement <= 1.0


def test_each_head_has_tables_and_pictures(line: Line) -> None:
    reports = line.folder / "reports/dense"
    files = {path.name for folder in ("tables", "pictures") for path in (reports / folder).iterdir()}
    assert {"traits-classes.csv", "value-errors.csv", "digit-classes.csv"} <= files
    assert {"traits-classes.png", "value-predicted.png", "digit-confusion.png"} <= files
