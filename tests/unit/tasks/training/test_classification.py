"""Loss and metrics of classification."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.training.classification import Classification, balanced_weights

NOTES = ClassificationNotes(classes=["a", "b", "c"])


def test_class_weights_make_every_class_count_the_same() -> None:
    task = Classification(NOTES, 0.1, balanced_weights([70, 20, 10, 0]))
    plain = Classification(NOTES, 0.1)
    labels = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
    logits = torch.zeros(100, 4)
    outputs, targets = {"logits": logits}, {"label": labels}
    losses = task.loss(outputs, targets)
    assert [losses[labels == label].sum().item() for label in range(3)] == pytest.approx(
        [losses.sum().item() / 3] * 3
    )
    assert losses.mean().item() == pytest.approx(plain.loss(outputs, targets).mean().item())


def test_top5_of_three_classes_and_sums_over_batches() -> None:
    task = Classification(NOTES, label_smoothing=0.3)
    logits, labels = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 2.0]]), torch.tensor([0, 1])
    sums = {name: float(value) for name, value in task.sums({"logits": logits}, {"label": labels}).items()}
    metrics = task.metrics(sums)
    assert metrics["top1"] == 0.5
    assert metrics["top5"] == 1.0
    assert metrics["loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)


@pytest.mark.parametrize("classes", [10, 100, 1000])
def test_of_tied_logits_the_first_is_the_answer(classes: int) -> None:
    logits = torch.randint(0, 4, (1000, classes), generator=torch.manual_seed(0)).float()
    labels = torch.randint(0, classes, (1000,), generator=torch.manual_seed(1))
    right = logits.numpy().argmax(axis=1) == labels.numpy()
    assert (
        Classification(NOTES, label_smoothing=0.0).sums({"logits": logits}, {"label": labels})["top1"]
        == right.sum()
    )
    tied = Classification(NOTES, label_smoothing=0.0).sums(
        {"logits": torch.zeros(classes, classes)}, {"label": torch.arange(classes)}
    )
    assert (tied["top1"].item(), tied["top5"].item()) == (1, 5)


def test_the_divergence_from_itself_is_nothing_and_its_gradient_pulls_to_the_teacher() -> None:
    task, logits, teacher = (
        Classification(NOTES, 0.0),
        torch.randn(4, 3, requires_grad=True),
        torch.randn(4, 3),
    )
    assert task.divergence({"logits": logits}, {"logits": logits.detach()}, 2.0).abs().max() < 1e-6
    before = task.divergence({"logits": logits}, {"logits": teacher}, 2.0)
    before.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    after = task.divergence({"logits": logits - 0.1 * logits.grad}, {"logits": teacher}, 2.0)
    assert (after < before).all()


def test_a_network_gives_a_logit_for_each_class() -> None:
    ((name, given),) = Classification(NOTES, 0.0).outputs().items()
    assert (name, given.shape) == ("logits", [3])


def test_nothing_is_chosen_on_validation() -> None:
    task = Classification(NOTES, 0.0)
    assert not task.tunes
    assert task.tuned({"logits": torch.zeros(1, 3)}, {"label": torch.zeros(1)}) == NOTES
