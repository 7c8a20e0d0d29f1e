"""The order of samples, a function of seed and epoch."""

import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.train.sampling import check_batches, epoch_batches


def test_an_epoch_holds_every_row_once_in_even_batches() -> None:
    batches = epoch_batches(1000, 128, seed=3, epoch=5)
    assert torch.cat(batches).sort().values.tolist() == list(range(1000))
    assert {len(batch) for batch in batches} == {125}
    assert len(batches) == 8


def test_balanced_epochs_show_every_class_as_often_and_its_images_by_turns() -> None:
    labels = torch.tensor([0] * 70 + [2] * 20 + [3] * 10)
    rows = torch.cat(epoch_batches(100, 30, seed=3, epoch=5, strata_N=labels))
    assert labels[rows].bincount().tolist() == [34, 0, 33, 33]
    times = rows.bincount(minlength=100)
    assert set(times[:70].tolist()) == {0, 1}
    assert set(times[70:90].tolist()) == {1, 2}
    assert set(times[90:].tolist()) == {3, 4}
    assert rows.equal(torch.cat(epoch_batches(100, 30, seed=3, epoch=5, strata_N=labels)))


def test_order_is_a_function_of_seed_and_epoch() -> None:
    first = torch.cat(epoch_batches(100, 10, seed=1, epoch=0))
    assert torch.equal(first, torch.cat(epoch_batches(100, 10, seed=1, epoch=0)))
    assert not torch.equal(first, torch.cat(epoch_batches(100, 10, seed=1, epoch=1)))
    assert not torch.equal(first, torch.cat(epoch_batches(100, 10, seed=2, epoch=0)))


@pytest.mark.parametrize(
    ("num_images", "batch", "world", "message"),
    [
        (100, 128, 1, "global_batch_size is 128, but the training split has 100 images"),
        (100, 4, 8, "8 workers x 1 accumulated parts need at least 8"),
    ],
)
def test_a_world_or_batch_larger_than_the_data_is_refused(
    num_images: int, batch: int, world: int, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        check_batches(num_images, batch, world, accumulate=1)
