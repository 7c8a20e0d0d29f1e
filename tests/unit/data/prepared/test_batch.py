"""Samples that are passed on together."""

import torch

from pipeline.data.prepared.batch import Batch


def test_a_part_holds_the_same_samples_in_every_tensor() -> None:
    numbers = torch.arange(6)
    batch = Batch(
        {"pixels": numbers * 10.0}, {"label": numbers + 1}, numbers + 100, {"label": numbers + 2}, numbers / 6
    )
    part = batch.part(torch.tensor([4, 1]))
    assert (batch.size, part.size) == (6, 2)
    assert part.rows.tolist() == [104, 101]
    assert part.inputs["pixels"].tolist() == [40.0, 10.0]
    assert part.targets["label"].tolist() == [5, 2]
    assert part.others is not None
    assert part.others["label"].tolist() == [6, 3]
    assert part.share is not None
    assert part.share.tolist() == [numbers[4] / 6, numbers[1] / 6]


def test_a_batch_that_is_not_mixed_has_no_other_targets() -> None:
    batch = Batch({"pixels": torch.zeros(2)}, {"label": torch.zeros(2)}, torch.arange(2))
    assert (batch.part(torch.tensor([0])).others, batch.to("cpu").share) == (None, None)
