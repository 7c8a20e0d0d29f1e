"""Loss and metrics of classification."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.tasks.classification.task import Classification
from pipeline.tasks.params import TaskParams
from pipeline.tasks.task import make_task


def test_class_weights_make_every_class_count_the_same() -> None:
    counts = torch.tensor([70, 20, 10, 0])
    task = make_task(TaskParams(name="classification", label_smoothing=0.1, class_weights="balanced"), counts)
    plain = make_task(TaskParams(name="classification", label_smoothing=0.1, class_weights="none"), counts)
    labels = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
    logits = torch.zeros(100, 4)
    losses = task.loss(logits, labels)
    assert [losses[labels == label].sum().item() for label in range(3)] == pytest.approx(
        [losses.sum().item() / 3] * 3
    )
    assert losses.mean().item() == pytest.approx(plain.loss(logits, labels).mean().item())


def test_top5_of_three_classes_and_sums_over_batches() -> None:
    task = Classification(label_smoothing=0.3)
    logits, labels = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 2.0]]), torch.tensor([0, 1])
    sums = {name: float(value) for name, value in task.sums(logits, labels).items()}
    metrics = task.metrics(sums)
    assert metrics["top1"] == 0.5
    assert metrics["top5"] == 1.0
    assert metrics["loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)


@pytest.mark.parametrize("classes", [10, 100, 1000])
def test_of_tied_logits_the_first_is_the_answer(classes: int) -> None:
    logits = torch.randint(0, 4, (1000, classes), generator=torch.manual_seed(0)).float()
    labels = torch.randint(0, classes, (1000,), generator=torch.manual_seed(1))
    right = logits.numpy().argmax(axis=1) == labels.numpy()
    assert Classification(label_smoothing=0.0).sums(logits, labels)["top1"] == right.sum()
    tied = Classification(label_smoothing=0.0).sums(torch.zeros(classes, classes), torch.arange(classes))
    assert (tied["top1"].item(), tied["top5"].item()) == (1, 5)
