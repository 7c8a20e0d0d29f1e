"""Loss and metrics of a number, against formulas by hand and scikit-learn."""

from typing import Literal

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from torch import Tensor

from pipeline.tasks.description.regression import RegressionNotes
from pipeline.tasks.judging.regression import RegressionExaminer
from pipeline.tasks.training.regression import Regression

NOTES = RegressionNotes(mean=300.0, std=20.0, low=250.0, high=350.0)
TASK = Regression(NOTES, "squared")


def random_answers(seed: int, samples: int = 100) -> tuple[Tensor, Tensor]:
    """Values (N, 1) in standard deviations, and right numbers (N,) with a few far off."""
    generator = torch.Generator().manual_seed(seed)
    actual = 300 + 20 * torch.randn(samples, generator=generator, dtype=torch.float64)
    actual[0] = 1000
    values = (actual - 300) / 20 + 0.5 * torch.randn(samples, generator=generator)
    return values.float()[:, None], actual


def metrics(parts: list[tuple[Tensor, Tensor]], task: Regression = TASK) -> dict[str, float]:
    """Metrics of the sums over several batches."""
    found = [task.sums({"value": values}, {"label": actual}) for values, actual in parts]
    assert all(tuple(each) == task.sum_names for each in found)
    assert all(value.dtype == torch.float64 and value.ndim == 0 for each in found for value in each.values())
    return task.metrics({name: sum(float(each[name]) for each in found) for name in task.sum_names})


@pytest.mark.parametrize("seed", range(5))
def test_errors_and_r2_are_scikit_learns_in_the_unit_of_the_target(seed: int) -> None:
    values, actual = random_answers(seed)
    answers = values[:, 0].double().numpy() * 20 + 300
    found = metrics([(values, actual)])
    assert found["mae"] == pytest.approx(mean_absolute_error(actual, answers), rel=1e-12)
    assert found["rmse"] == pytest.approx(mean_squared_error(actual, answers) ** 0.5, rel=1e-12)
    assert found["r2"] == pytest.approx(r2_score(actual, answers), rel=1e-9)


@pytest.mark.parametrize("actual", [300.0, 0.1, 1e6 + 1 / 3])
def test_r2_of_a_constant_truth_is_nothing(actual: float) -> None:
    """Added up in batches, the spread of equal numbers is not zero to the bit."""
    batch = (torch.ones(7, 1), torch.full((7,), actual, dtype=torch.float64))
    assert metrics([batch] * 13)["r2"] == 0


def test_r2_of_one_sample_is_nothing_and_of_numbers_far_from_the_mean_of_training_scikit_learns() -> None:
    values, actual = random_answers(0)
    assert metrics([(values[:1], actual[:1])])["r2"] == 0
    far = actual + 10_000
    answers = values[:, 0].double().numpy() * 20 + 300
    assert metrics([(values, far)])["r2"] == pytest.approx(r2_score(far, answers), rel=1e-6)


def test_the_score_is_the_mean_score_of_the_judges() -> None:
    values, actual = random_answers(2)
    scores = RegressionExaminer(NOTES).score({"value": values.numpy()}, {"label": actual.numpy()})
    assert metrics([(values, actual)])["score"] == pytest.approx(scores.mean(), rel=1e-12)


def test_metrics_do_not_depend_on_the_batches() -> None:
    values, actual = random_answers(3)
    batches = [(values[part], actual[part]) for part in torch.split(torch.arange(100), [1, 40, 59])]
    assert metrics(batches) == pytest.approx(metrics([(values, actual)]), rel=1e-9)


@pytest.mark.parametrize("kind", ["squared", "absolute", "huber"])
def test_a_loss_is_of_an_error_in_standard_deviations(kind: Literal["squared", "absolute", "huber"]) -> None:
    values, actual = random_answers(4)
    error = values[:, 0].numpy().astype(np.float64) - (actual.numpy() - 300) / 20
    size = np.abs(error)
    expected = {
        "squared": error**2,
        "absolute": size,
        "huber": np.where(size < 1, error**2 / 2, size - 0.5),
    }[kind]
    task = Regression(NOTES, kind)
    losses = task.loss({"value": values}, {"label": actual})
    assert (losses.shape, losses.dtype) == ((100,), torch.float32)
    assert losses.numpy() == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert metrics([(values, actual)], task)["loss"] == pytest.approx(expected.mean(), rel=1e-4)


def test_the_divergence_is_the_squared_difference() -> None:
    found = TASK.divergence(
        {"value": torch.tensor([[1.0], [2.0]])}, {"value": torch.tensor([[1.0], [-1.0]])}, 4
    )
    assert found.tolist() == [0, 9]


def test_the_meaning_of_the_output_says_how_to_get_the_number() -> None:
    ((name, given),) = TASK.outputs().items()
    assert (name, given.shape) == ("value", [1])
    assert "value * 20.0 + 300.0" in given.meaning


def test_numbers_are_neither_balanced_nor_weighed() -> None:
    targets = {"label": random_answers(0)[1]}
    assert TASK.strata(targets) is None
    assert TASK.weights(targets) is None  # type: ignore[func-returns-value]


def test_nothing_is_chosen_on_validation() -> None:
    values, actual = random_answers(0)
    assert not TASK.tunes
    assert TASK.tuned({"value": values}, {"label": actual}) == NOTES
