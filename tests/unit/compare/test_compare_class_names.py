"""Class names of any kind, from the tables that evaluate writes to the pictures and counts of compare."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.compare.compare import Evaluated, _Answered, _Step, _Test
from pipeline.data.prepared.manifest import read_manifest, write_manifest
from pipeline.data.prepared.reader import Split
from pipeline.evaluate.answers import Answers
from pipeline.files import write_atomic
from tests.support.compress_samples import prepared_data
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
    write_manifest(data, read_manifest(data).model_copy(update={"classes": names}))
    test, split = _Test.open(data, params()), Split.open(data, "test")
    logits_NK = np.random.default_rng(0).normal(size=(len(split), 3)).astype(np.float32)
    answers = Answers.of(logits_NK, split, names, params())
    made = Evaluated(
        tmp_path / "none", tmp_path / "answers.csv", tmp_path / "metrics.json", tmp_path / "seal.json"
    )
    made.metrics.write_text(json.dumps(QUALITY | FIGURES["dense"]))
    write_atomic(made.answers, answers.answers_csv())
    read = _Answered.read(made, test)
    assert read.predicted.tolist() == logits_NK.argmax(axis=1).tolist()
    assert all(answers.pictures().values())
    assert _Step(test, "pruned", "dense", {"dense": read, "pruned": read}).picture(4)
