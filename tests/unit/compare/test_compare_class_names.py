"""Class names of any kind, from the tables that evaluate writes to the pictures and counts of compare."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.base.files import write_atomic
from pipeline.compare.compare import Evaluated, _Scored, _Step, _Test
from pipeline.data.fields.image import Pixels
from pipeline.data.fields.one_class import ClassField
from pipeline.data.prepared.manifest import read_manifest, write_manifest
from pipeline.data.prepared.reader import Split
from pipeline.evaluate.evaluate import scores_csv
from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.judging.arrays import Ints
from pipeline.tasks.reports.report import make_report
from tests.support.compress_samples import TASK_PARAMS, prepared_data
from tests.support.figures_samples import QUALITY
from tests.unit.compare.test_compare import FIGURES, params


@pytest.mark.parametrize(
    "names",
    [["cat\r", "dog\r", 'quo"te,\ncomma'], ["日本語", "🐶 dog", "$x^2$"], ["$\\frac", "007", "x" * 300]],
)
def test_any_name_comes_back_from_the_table_of_evaluate_and_is_drawn(
    tmp_path: Path, names: list[str]
) -> None:
    """Warnings, as of letters that a font lacks, are errors."""
    data = prepared_data(tmp_path / "data")
    manifest = read_manifest(data)
    fields = manifest.fields | {"label": ClassField(classes=names)}
    write_manifest(data, manifest.model_copy(update={"fields": fields}))
    test, split = _Test.open(data, params(), TASK_PARAMS), Split.open(data, "test")
    logits_NK = np.random.default_rng(0).normal(size=(len(split), 3)).astype(np.float32)
    outputs, targets = {"logits": logits_NK}, {"label": split.targets["label"].numpy()}
    report = make_report(ClassificationNotes(classes=names), calibration_bins=5)
    made = Evaluated(
        tmp_path / "none", tmp_path / "scores.csv", tmp_path / "metrics.json", tmp_path / "seal.json"
    )
    made.metrics.write_text(json.dumps(QUALITY | FIGURES["dense"]))
    write_atomic(made.scores, scores_csv(test.examiner, outputs, targets))
    read = _Scored.read(made, test)
    assert [names.index(answer) for answer in read.answers] == logits_NK.argmax(axis=1).tolist()

    def images(rows: Ints) -> Pixels:
        pixels: Pixels = split.images(torch.from_numpy(rows)).numpy()
        return pixels

    assert all(report.pictures(outputs, targets, images, 4).values())
    assert _Step(test, "pruned", "dense", {"dense": read, "pruned": read}).picture(4)
