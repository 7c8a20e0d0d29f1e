"""A step of the optimizer against plain torch."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.amp import GradScaler

from pipeline.data.prepared.batch import Batch
from pipeline.models.description.spec import TensorSpec
from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.training.classification import Classification
from pipeline.train.methods.distillation import Tapped
from pipeline.train.optim import make_optimizer
from pipeline.train.params import OptimizerParams
from pipeline.train.step import Recipe, train_step


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_a_step_equals_plain_torch(accumulate: int) -> None:
    """Without batch norm, accumulation changes nothing but rounding."""
    torch.manual_seed(1)
    images, labels = torch.randn(8, 3, 2, 2), torch.randint(0, 3, (8,))
    images = images.flatten(1)
    ours, plain = nn.Linear(12, 3), nn.Linear(12, 3)
    plain.load_state_dict(ours.state_dict())
    params = OptimizerParams(
        name="sgd", lr=0.1, momentum=0.9, weight_decay=0.01, lr_factors={}, layer_decay=None
    )
    optimizer, reference = make_optimizer(ours, params), torch.optim.SGD(plain.parameters(), lr=0.1)
    task = Classification(ClassificationNotes(classes=["a", "b", "c"]), label_smoothing=0.1)
    for group in reference.param_groups:
        group |= {"momentum": 0.9, "nesterov": True}
    whole = Batch({"pixels": images}, {"label": labels}, torch.arange(8))
    parts = [whole.part(positions) for positions in torch.arange(8).chunk(accumulate)]
    outputs = {"logits": TensorSpec(shape=[3], meaning="")}
    for _ in range(3):
        recipe = Recipe(task, outputs, nullcontext, None, None, None)
        total = train_step(Tapped(ours), optimizer, GradScaler("cpu", enabled=False), parts, recipe, 1 / 8)
        loss = F.cross_entropy(plain(images), labels, label_smoothing=0.1)
        reference.zero_grad()
        (loss + 0.005 * plain.weight.square().sum()).backward()  # type: ignore[no-untyped-call]
        reference.step()
        assert total.item() == pytest.approx(8 * loss.item(), rel=1e-5)
    assert torch.allclose(ours.weight, plain.weight, atol=1e-6)
