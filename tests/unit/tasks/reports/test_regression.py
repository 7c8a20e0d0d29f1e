"""Tables, numbers and pictures of a number, against numpy."""

import csv
import io

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.tasks.description.regression import RegressionNotes
from pipeline.tasks.judging.arrays import Outputs, Targets
from pipeline.tasks.judging.regression import RegressionExaminer
from pipeline.tasks.reports.regression import RegressionReport
from pipeline.tasks.reports.regression_pictures import draw_errors, draw_predicted
from tests.support.problems import drawn, row_images
from tests.unit.tasks.reports.test_classification_pictures import opened

REPORT = RegressionReport(RegressionExaminer(RegressionNotes(mean=10.0, std=4.0, low=0.0, high=24.0)))


def random_answers(seed: int, samples: int = 200) -> tuple[Outputs, Targets]:
    generator = np.random.default_rng(seed)
    truths = generator.uniform(0, 24, samples)
    values = (truths - 10) / 4 + generator.normal(0.2, 0.5, samples)
    return {"value": values.astype(np.float32)[:, None]}, {"label": truths}


def errors(outputs: Outputs, targets: Targets) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = outputs["value"][:, 0].astype(np.float64) * 4 + 10 - targets["label"]
    return found


def table(outputs: Outputs, targets: Targets) -> list[dict[str, str]]:
    (text,) = REPORT.tables(outputs, targets).values()
    return list(csv.DictReader(io.StringIO(text)))


def test_the_numbers_are_the_median_the_95th_percentile_and_the_mean_error() -> None:
    outputs, targets = random_answers(0)
    off = errors(outputs, targets)
    assert REPORT.metrics(outputs, targets) == pytest.approx(
        {
            "median_error": np.median(np.abs(off)),
            "p95_error": np.quantile(np.abs(off), 0.95),
            "bias": off.mean(),
        }
    )
    assert off.mean() > 0.1, "answers that are too large have a bias above 0"


def test_the_table_has_a_row_for_all_and_for_each_third_of_the_range() -> None:
    outputs, targets = random_answers(1)
    off = errors(outputs, targets)
    third = np.minimum(targets["label"] // 8, 2)
    parts = {"all": off} | {
        name: off[third == number] for number, name in enumerate(["0 to 8", "8 to 16", "16 to 24"])
    }
    for row, (name, part) in zip(table(outputs, targets), parts.items(), strict=True):
        assert (row["truth"], int(row["count"])) == (name, len(part))
        assert float(row["mae"]) == pytest.approx(np.abs(part).mean())
        assert float(row["bias"]) == pytest.approx(part.mean())
        quantiles = np.quantile(np.abs(part), [0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1])
        columns = ("p0", "p25", "p50", "p75", "p90", "p95", "p99", "p100")
        assert [float(row[column]) for column in columns] == pytest.approx(quantiles)


def test_a_third_without_a_sample_has_zeros() -> None:
    found = table({"value": np.zeros((3, 1), np.float32)}, {"label": np.array([9.0, 10, 11])})
    assert [row["count"] for row in found] == ["3", "0", "3", "0"]
    assert found[1]["mae"] == found[3]["p100"] == "0.0"


def test_pictures_are_the_same_bytes_every_time_and_show_the_greatest_errors() -> None:
    outputs, targets = random_answers(1)
    first, asked = drawn(REPORT, outputs, targets, 3)
    assert list(first) == ["predicted.png", "errors.png", "worst.png"]
    assert first == REPORT.pictures(outputs, targets, row_images, 3)
    assert asked == np.argsort(-np.abs(errors(outputs, targets)), kind="stable")[:3].tolist()


def test_other_numbers_are_another_picture() -> None:
    numbers = np.array([1.0, 2.0, 4.0])
    assert draw_errors(numbers) != draw_errors(-numbers)
    assert draw_predicted(numbers, numbers) != draw_predicted(numbers[::-1], numbers)


@pytest.mark.parametrize(
    "values",
    [[0.0, 0.0], [0.3, 0.1 + 0.2], [1e17, 1e17], [1.0], [-5.0, 5.0], [1e-300, 0.0]],
)
def test_constant_numbers_and_tiny_spreads_are_drawn(values: list[float]) -> None:
    numbers = np.array(values)
    opened(draw_errors(numbers))
    opened(draw_predicted(numbers, np.zeros(len(values))))
