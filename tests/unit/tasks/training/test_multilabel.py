"""Loss and metrics of any of K labels, against formulas by hand and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import Tensor

from pipeline.data.prepared.manifest import SplitInfo
from pipeline.tasks.description.multilabel import MultilabelNotes
from pipeline.tasks.judging.multilabel import MultilabelExaminer
from pipeline.tasks.training.multilabel import Multilabel, positive_weights

NOTES = MultilabelNotes(classes=[*"abcde"], thresholds=[0.1, 0.3, 0.5, 0.7, 0.5])
TASK = Multilabel(NOTES)


def random_answers(seed: int, samples: int = 100) -> tuple[Tensor, Tensor]:
    """Some sets are empty; no sample has the last label, and none is given it."""
    generator = torch.Generator().manual_seed(seed)
    actual = (torch.rand(samples, 5, generator=generator) < 0.25).to(torch.uint8)
    actual[:, -1] = 0
    logits = torch.randn(samples, 5, generator=generator) + 2 * actual - 1
    logits[:, -1] = -9
    return logits, actual


def metrics(parts: list[tuple[Tensor, Tensor]], task: Multilabel = TASK) -> dict[str, float]:
    """Metrics of the sums over several batches."""
    found = [task.sums({"logits": logits}, {"label": actual}) for logits, actual in parts]
    assert all(tuple(each) == task.sum_names for each in found)
    assert all(value.dtype == torch.float64 and value.ndim == 0 for each in found for value in each.values())
    return task.metrics({name: sum(float(each[name]) for each in found) for name in task.sum_names})


@pytest.mark.parametrize("seed", range(5))
def test_f1_of_samples_labels_and_all_answers_is_scikit_learns(seed: int) -> None:
    logits, actual = random_answers(seed)
    given = logits.double().sigmoid().numpy() >= np.array(NOTES.thresholds)
    found = metrics([(logits, actual)])
    for name, average, empty in (("f1", "samples", 1), ("macro_f1", "macro", 0), ("micro_f1", "micro", 0)):
        expected = f1_score(actual.numpy(), given, average=average, zero_division=empty)
        assert found[name] == pytest.approx(expected, rel=1e-12)


def test_the_score_is_the_mean_score_of_the_judges() -> None:
    logits, actual = random_answers(9)
    scores = MultilabelExaminer(NOTES).score({"logits": logits.numpy()}, {"label": actual.numpy()})
    assert metrics([(logits, actual)])["score"] == pytest.approx(scores.mean(), rel=1e-12)


def test_metrics_do_not_depend_on_the_batches() -> None:
    logits, actual = random_answers(3)
    batches = [(logits[part], actual[part]) for part in torch.split(torch.arange(100), [1, 40, 59])]
    assert metrics(batches) == pytest.approx(metrics([(logits, actual)]), rel=1e-12)


def test_without_a_positive_and_an_answer_only_the_samples_are_right() -> None:
    found = metrics([(torch.full((4, 5), -9.0), torch.zeros(4, 5, dtype=torch.uint8))])
    assert (found["f1"], found["macro_f1"], found["micro_f1"]) == (1, 0, 0)


def test_a_logit_of_zero_is_given_at_the_threshold_one_half() -> None:
    task = Multilabel(MultilabelNotes(classes=["a"], thresholds=[0.5]))
    assert metrics([(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.uint8))], task)["f1"] == 1


def test_the_loss_is_the_mean_over_labels_of_the_binary_cross_entropy() -> None:
    logits, actual = random_answers(0)
    p, y = logits.double().sigmoid(), actual.double()
    expected = -(y * p.log() + (1 - y) * (1 - p).log()).mean(dim=1)
    losses = TASK.loss({"logits": logits}, {"label": actual})
    assert losses.shape == (100,)
    assert torch.allclose(losses.double(), expected, rtol=1e-5)
    assert metrics([(logits, actual)])["loss"] == pytest.approx(expected.mean().item(), rel=1e-6)


def test_balanced_weights_count_positives_as_much_as_negatives_within_bounds() -> None:
    train = SplitInfo(rows=1000, counts={"seen": [250, 500, 900, 2, 0]}, shards=[])
    weights = positive_weights(train, "seen")
    assert weights.tolist() == [3, 1, 1, 100, 100]


def test_weights_are_of_the_training_loss_alone() -> None:
    logits, actual = random_answers(1)
    task = Multilabel(NOTES, torch.tensor([3.0, 1.0, 1.0, 100.0, 100.0]))
    p, y = logits.double().sigmoid(), actual.double()
    assert task.weights_K is not None
    expected = -(task.weights_K * y * p.log() + (1 - y) * (1 - p).log()).mean(dim=1)
    losses = task.loss({"logits": logits}, {"label": actual})
    assert torch.allclose(losses.double(), expected, rtol=1e-5)
    assert metrics([(logits, actual)], task) == metrics([(logits, actual)])


def test_the_divergence_is_that_of_bernoullis_at_a_temperature() -> None:
    student, teacher = random_answers(0)[0].double(), random_answers(1)[0].double()
    p, q = (teacher / 3).sigmoid(), (student / 3).sigmoid()
    expected = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean(dim=1) * 9
    found = TASK.divergence({"logits": student.float()}, {"logits": teacher.float()}, 3.0)
    assert torch.allclose(found.double(), expected, atol=1e-5)
    assert TASK.divergence({"logits": student}, {"logits": student}, 3.0).tolist() == [0] * 100


def test_a_network_gives_a_logit_for_each_label_and_nothing_is_balanced() -> None:
    ((name, given),) = TASK.outputs().items()
    assert (name, given.shape) == ("logits", [5])
    targets = {"label": random_answers(0)[1]}
    assert TASK.strata(targets) is None
    assert TASK.weights(targets) is None  # type: ignore[func-returns-value]


def test_tuned_notes_are_better_than_even_ones_and_touch_nothing_else() -> None:
    logits, actual = random_answers(7)
    even = Multilabel(MultilabelNotes(classes=[*"abcde"], thresholds=[0.5] * 5))
    notes = even.tuned({"logits": logits}, {"label": actual})
    assert even.tunes
    assert (notes.classes, notes.thresholds[-1]) == (even.notes.classes, 0.5)
    before, after = (metrics([(logits, actual)], each)["macro_f1"] for each in (even, Multilabel(notes)))
    assert after > before
