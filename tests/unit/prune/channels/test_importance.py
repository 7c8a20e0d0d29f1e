"""What channels are worth, by hand on a network of two channels."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from pipeline.data.prepared.batch import Batch, Tensors
from pipeline.data.prepared.reader import Split
from pipeline.models.channels.groups import Member, position_sums, trace_groups
from pipeline.models.description.spec import ModelSpec, Preprocessing, TensorSpec
from pipeline.prune.channels.importance import element_importance, score_groups
from pipeline.prune.params import Importance
from pipeline.tasks.training.task import Task
from tests.support.compress_samples import prune_params
from tests.support.data_samples import STRETCH

CONV, NORM, HEAD = [3.0, -1.0], [0.5, 2.0], [[1.0, -4.0], [2.0, 0.5]]
"""By channel; the head's rows are classes."""
IMAGES = [1.0, 2.0, 4.0]
PRICE = 5.0
EFFECTS = [1.5, 8.0]
"""Of each channel on logit 0 for an image of one: |conv * norm * head|."""


class Two(nn.Module):
    """Two channels between one and two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(2, eps=0.0)
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor(CONV).view(2, 1, 1, 1))
            self.norm.weight.copy_(torch.tensor(NORM))
            self.head.weight.copy_(torch.tensor(HEAD))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(pixels)).mean((2, 3)))  # type: ignore[no-any-return]


class Images:
    """A split of three images of one pixel."""

    labels = torch.tensor([0, 1, 0])

    def __init__(self, pixels: list[float]) -> None:
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def batch(self, rows: Tensor, _device: str) -> Batch:
        images = torch.tensor(self._pixels)[rows].view(-1, 1, 1, 1)
        return Batch({"pixels": images}, {"label": self.labels[rows]}, rows)


class FirstLogit:
    """Its loss is logit 0, or for label 1 what is opposite to it, so that gradients cancel among images."""

    def loss(self, outputs: Tensors, targets: Tensors) -> Tensor:
        first_B = outputs["logits"][:, 0]
        return torch.where(targets["label"] == 0, first_B, -first_B)


def scores_of(importance: Importance, images: list[float] = IMAGES, **changes: Any) -> list[float]:
    model = Two().eval()
    params = prune_params(importance=importance, sample_batches=1, batch_size=3, **changes)
    spec = ModelSpec.model_construct(
        preprocessing=Preprocessing(resize=STRETCH, sixteen_bit="refuse", mean=[0.0], std=[1 / 255]),
        outputs={"logits": TensorSpec(shape=[2], meaning="")},
    )
    split, task = cast(Split, Images(images)), cast(Task, FirstLogit())
    importances = element_importance(model, spec, split, params, task)
    groups = trace_groups(model, torch.zeros(2, 1, 1, 1), [])
    _, (scores,) = score_groups(model, groups, importances, importance, params.seed, lambda group: PRICE)
    return cast(list[float], scores.tolist())


def of_mean(first: float, second: float) -> list[float]:
    return pytest.approx([2 * first / (first + second), 2 * second / (first + second)])  # type: ignore[return-value]


L2 = [3.0**2 + 0.5**2 + 1.0**2 + 2.0**2, 1.0**2 + 2.0**2 + 4.0**2 + 0.5**2]


def test_each_criterion_gives_what_its_formula_says() -> None:
    assert scores_of("l1") == of_mean(3.0 + 0.5 + 1.0 + 2.0, 1.0 + 2.0 + 4.0 + 0.5)
    assert scores_of("l2") == of_mean(*L2)
    assert scores_of("bn_scale") == of_mean(*NORM)
    assert scores_of("lamp") == pytest.approx([L2[0] / sum(L2), 1.0])
    # Each of the three weights on the way to logit 0 has the same product with its gradient, which is linear
    # in the images.
    assert scores_of("taylor") == pytest.approx(
        [3 * effect * (1.0 - 2.0 + 4.0) / PRICE for effect in EFFECTS]
    )
    assert scores_of("hessian") == pytest.approx(
        [3 * effect**2 * (1.0 + 4.0 + 16.0) / PRICE for effect in EFFECTS]
    )


def test_second_order_counts_what_cancels_among_images() -> None:
    images = [1.0, 3.0, 2.0]
    assert scores_of("taylor", images) == [0.0, 0.0]
    assert scores_of("hessian", images) == pytest.approx(
        [3 * effect**2 * (1.0 + 9.0 + 4.0) / PRICE for effect in EFFECTS]
    )


def test_random_hangs_on_the_seed_alone() -> None:
    assert scores_of("random") == scores_of("random")
    assert scores_of("random") != scores_of("random", seed=1)


def test_inputs_of_a_grouped_convolution_are_summed_within_their_group() -> None:
    conv = nn.Conv2d(4, 6, 1, groups=2)
    values = torch.arange(12.0).view(6, 2, 1, 1)
    assert position_sums(conv, "in", values).tolist() == [0 + 2 + 4, 1 + 3 + 5, 6 + 8 + 10, 7 + 9 + 11]
    assert position_sums(conv, "out", values).tolist() == [1, 5, 9, 13, 17, 21]


def test_a_channel_that_stands_for_several_positions_is_worth_their_sum() -> None:
    """As those of an attention head, or of a flattened map, are."""
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 2))
    group = trace_groups(model, torch.zeros(2, 4), [])[0]
    heads = Member("0", "out", torch.arange(4), torch.tensor([0, 0, 1, 1]))
    halves = type(group)(root="0", channels=2, repeats=2, members=(heads,), traced=None)
    importances = {"0": torch.tensor([[1.0], [2.0], [3.0], [6.0]])}
    assert score_groups(model, [halves], importances, "l2", 0, lambda group: 1.0)[1][0].tolist() == [0.5, 1.5]
