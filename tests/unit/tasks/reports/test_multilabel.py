"""Tables, numbers and pictures of any of K labels, against scikit-learn."""

import csv
import io
import warnings

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from pipeline.tasks.description.multilabel import MultilabelNotes
from pipeline.tasks.judging.arrays import Bools, Outputs, Targets
from pipeline.tasks.judging.multilabel import MultilabelExaminer
from pipeline.tasks.reports.by_class import average_precisions, per_label
from pipeline.tasks.reports.multilabel import MultilabelReport
from pipeline.tasks.reports.multilabel_pictures import caption, draw_labels, labels_with_bars
from tests.support.problems import drawn, row_images
from tests.unit.tasks.reports.test_classification_pictures import opened

LABELS = 5
NOTES = MultilabelNotes(classes=[*"abcde"], thresholds=[0.5, 0.2, 0.7, 0.5, 0.5])
REPORT = MultilabelReport(MultilabelExaminer(NOTES), 10)


def random_answers(seed: int, samples: int = 120) -> tuple[Outputs, Targets]:
    """Many logits tie, some sets are empty, and no sample has the last label."""
    generator = np.random.default_rng(seed)
    actual = generator.random((samples, LABELS)) < 0.3
    actual[:, -1] = False
    logits = np.round(generator.normal(size=(samples, LABELS)) + 2 * actual - 1, 1)
    return {"logits": logits.astype(np.float32)}, {"label": actual.astype(np.uint8)}


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def precision_of(actual: Bools, logits: npt.NDArray[np.float32]) -> float:
    with warnings.catch_warnings(action="ignore"):  # of a label without a positive
        return float(average_precision_score(actual, logits))


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_scikit_learns(seed: int) -> None:
    outputs, targets = random_answers(seed)
    logits, actual = outputs["logits"], targets["label"] == 1
    found = average_precisions(logits, actual)
    assert found == pytest.approx(
        [precision_of(actual[:, k], logits[:, k]) for k in range(LABELS)], rel=1e-12
    )
    assert REPORT.metrics(outputs, targets)["map"] == pytest.approx(found[:-1].mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("logits", "actual", "expected"),
    [([3, 2, 1], [1, 0, 1], 5 / 6), ([0, 0, 0, 0], [1, 0, 0, 0], 0.25), ([1], [1], 1), ([1, 2], [0, 0], 0)],
)
def test_average_precision_of_examples_by_hand(
    logits: list[float], actual: list[int], expected: float
) -> None:
    found = average_precisions(np.array(logits, np.float32)[:, None], np.array(actual, np.bool_)[:, None])
    assert found.tolist() == [pytest.approx(expected)]


def test_the_table_of_labels_is_scikit_learns() -> None:
    outputs, targets = random_answers(0)
    given = REPORT.examiner.given(outputs)
    expected = precision_recall_fscore_support(targets["label"], given, zero_division=0)
    table = rows(REPORT.tables(outputs, targets)["classes.csv"])
    assert [row["class"] for row in table] == NOTES.classes
    assert [float(row["threshold"]) for row in table] == NOTES.thresholds
    for column, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [float(row[column]) for row in table] == pytest.approx(values)
    assert float(table[-1]["average_precision"]) == 0
    seen = np.array([float(row["f1"]) for row in table[:-1]])
    assert REPORT.metrics(outputs, targets)["worst_class_f1"] == seen.min()


def test_without_a_positive_the_numbers_are_nothing_and_the_pictures_are_drawn() -> None:
    outputs, targets = {"logits": np.full((4, 5), -9, np.float32)}, {"label": np.zeros((4, 5), np.uint8)}
    found = REPORT.metrics(outputs, targets)
    assert (found["map"], found["worst_class_f1"]) == (0, 0)
    assert all(map(opened, REPORT.pictures(outputs, targets, row_images, 3).values()))


def test_calibration_is_of_every_decision_about_a_label() -> None:
    """Both labels are given, with 0.6 and 0.3; three of four samples have the first, one has the second."""
    logits = np.log([[0.6 / 0.4, 0.3 / 0.7]] * 4).astype(np.float32)
    notes = MultilabelNotes(classes=["a", "b"], thresholds=[0.5, 0.2])
    outputs, targets = {"logits": logits}, {"label": np.array([[1, 1], [1, 0], [1, 0], [0, 0]], np.uint8)}
    report = MultilabelReport(MultilabelExaminer(notes), 10)
    table = rows(report.tables(outputs, targets)["reliability.csv"])
    assert sum(int(row["count"]) for row in table) == 8
    assert report.metrics(outputs, targets)["ece"] == pytest.approx((4 * 0.15 + 4 * 0.05) / 8, abs=1e-6)
    none = MultilabelReport(MultilabelExaminer(notes.model_copy(update={"thresholds": [0.7, 0.7]})), 10)
    assert none.metrics(outputs, targets)["ece"] == pytest.approx(0.1, abs=1e-6), (
        "0.4 and 0.7 that it is absent"
    )


def test_pictures_are_the_same_bytes_every_time_and_show_the_lowest_scores() -> None:
    outputs, targets = random_answers(1)
    first, asked = drawn(REPORT, outputs, targets, 3)
    assert list(first) == ["classes.png", "reliability.png", "worst.png"]
    assert first == REPORT.pictures(outputs, targets, row_images, 3)
    assert asked == np.argsort(REPORT.examiner.score(outputs, targets), kind="stable")[:3].tolist()


def test_other_numbers_are_another_picture() -> None:
    values = np.array([0.2, 0.4])
    assert draw_labels(values, values, ["a", "b"]) != draw_labels(values, values[::-1], ["a", "b"])


@pytest.mark.parametrize("labels", [1, 20])
def test_every_label_has_its_place(labels: int) -> None:
    values, names = np.linspace(0, 1, labels), [f"$label_{number}" for number in range(labels)]
    assert opened(draw_labels(values, values, names)).height == pytest.approx(
        100 * (1.2 + 0.22 * labels), abs=2
    )


def test_of_many_labels_those_of_the_lowest_precision_have_bars() -> None:
    assert labels_with_bars(np.linspace(1, 0, 150)).tolist() == list(range(50, 150))
    assert labels_with_bars(np.array([0.5, 0.5, 0.1])).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([], "none"),
        ([1], "dog"),
        ([0, 1], "cat, dog"),
        ([0, 1, 2], "cat, dog +1"),
        ([2, 0, 1], f"{'x' * 23}... +2"),
        ([3], "class 3"),
    ],
)
def test_a_caption_names_what_fits_and_counts_the_rest(labels: list[int], words: str) -> None:
    assert caption(np.array(labels, np.int64), ["cat", "dog", "x" * 99, "犬"]) == words


def test_per_label_counts_only_its_own_column() -> None:
    given = np.array([[True, False], [True, True]])
    found = per_label(given, np.array([[True, True], [False, False]]))
    assert (found.precision.tolist(), found.recall.tolist(), found.support.tolist()) == (
        [0.5, 0],
        [1, 0],
        [1, 1],
    )
