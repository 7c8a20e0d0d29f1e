"""Images that are made ahead: in order, few at a time, and nothing is left of the threads."""

import threading
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.data.augmentation.ahead import COMING, TASK_IMAGES, Ahead, Makers
from pipeline.images.pixels import PixelsHWC

SHAPE = (2, 3, 1)
EPOCH = 4


def image_of(row: int, epoch: int) -> PixelsHWC:
    return np.full(SHAPE, row + epoch, np.uint8)


def makers(rows_B: Tensor, epoch: int) -> Makers:
    return [partial(image_of, row, epoch) for row in rows_B.tolist()]


def images_of(rows_B: Tensor, epoch: int) -> Tensor:
    return (rows_B + epoch).byte()[:, None, None, None].expand(-1, 1, 2, 3)


def singles(first: int, end: int) -> list[Tensor]:
    return [torch.tensor([number]) for number in range(first, end)]


def decoders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.mark.parametrize("threads", [1, 3])
def test_images_come_in_order_whichever_thread_is_first(threads: int) -> None:
    def slow_at_first(row: int) -> PixelsHWC:
        time.sleep(0.02 if row == 0 else 0.0)
        return image_of(row, EPOCH)

    ahead = Ahead(lambda rows, _: [partial(slow_at_first, row) for row in rows.tolist()], SHAPE, threads)
    batches = torch.arange(100).chunk(5)
    ahead.expect(batches, EPOCH)
    for rows in batches:
        assert len(rows) > 2 * TASK_IMAGES
        images = ahead.take(rows, EPOCH)
        assert images.equal(images_of(rows, EPOCH))
        assert images.is_contiguous(memory_format=torch.channels_last)
    ahead.close()
    assert not decoders()


@pytest.mark.parametrize(
    ("size", "threads", "few"), [(TASK_IMAGES, 1, COMING), (10 * TASK_IMAGES, 4, COMING), (1, 4, 8)]
)
def test_as_many_batches_are_begun_as_keep_the_threads_busy(size: int, threads: int, few: int) -> None:
    begun: list[int] = []

    def batches() -> Iterator[Tensor]:
        for number in range(1_000_000):
            begun.append(number)
            yield torch.arange(size)

    ahead = Ahead(makers, SHAPE, threads)
    ahead.expect(batches(), EPOCH)
    assert begun == list(range(few))
    ahead.take(torch.arange(size), EPOCH)
    assert begun == list(range(few + 1))
    ahead.close()
    assert not decoders()


def test_without_anything_expected_images_are_made_at_once_and_no_thread_begins() -> None:
    ahead = Ahead(makers, SHAPE, 2)
    assert ahead.take(torch.tensor([5, 2]), EPOCH).equal(images_of(torch.tensor([5, 2]), EPOCH))
    assert not decoders()
    ahead.close()


def test_an_error_of_a_thread_is_raised_when_its_images_are_taken_and_the_rest_ends() -> None:
    def broken(row: int) -> PixelsHWC:
        if row == 1:
            raise OSError("cannot read")
        return image_of(row, EPOCH)

    ahead = Ahead(lambda rows, _: [partial(broken, row) for row in rows.tolist()], SHAPE, 2)
    batches = singles(0, 10)
    ahead.expect(batches, EPOCH)
    ahead.take(batches[0], EPOCH)
    with pytest.raises(OSError, match="cannot read"):
        ahead.take(batches[1], EPOCH)
    ahead.close()
    assert not decoders()


def test_another_epoch_takes_the_place_of_what_was_expected() -> None:
    ahead = Ahead(makers, SHAPE, 1)
    ahead.expect(singles(0, 10), EPOCH)
    ahead.take(torch.tensor([0]), EPOCH)
    ahead.expect(singles(5, 10), EPOCH + 1)
    assert ahead.take(torch.tensor([5]), EPOCH + 1).equal(images_of(torch.tensor([5]), EPOCH + 1))
    ahead.close()
