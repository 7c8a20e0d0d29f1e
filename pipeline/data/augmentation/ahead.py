"""Images of coming batches, made by threads ahead of their use. The order is known, so nothing is shuffled
and nothing has to be kept for a resumption.

Letters: B batch, C channels, H height, W width.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.data.fields.image import Pixels
from pipeline.images.pixels import PixelsHWC

COMING = 3
"""Batches that are made or wait at once: memory does not grow with the speed of the threads."""
TASK_IMAGES = 8
"""Images that a thread makes at a time, some 10 ms: the threads share the work on one batch."""
TASKS_A_THREAD = 2
"""Tasks that are begun for each thread at least, if so many need more batches than COMING: small batches."""

Makers = Sequence[Callable[[], PixelsHWC]]
"""Functions that make the images of a batch, one each, in whatever thread. They touch no tensors: torch would
start threads of its own for each thread that does.
"""


class _Coming(NamedTuple):
    rows_B: Tensor
    images_BHWC: Pixels
    tasks: list[Future[None]]


class Ahead:
    """Images by row, those that are expected made ahead.

    makers: of some rows (B,) in an epoch. Pillow decodes and resizes without the interpreter's lock.
    """

    def __init__(
        self, makers: Callable[[Tensor, int], Makers], shape_HWC: tuple[int, int, int], threads: int
    ) -> None:
        self._makers = makers
        self._shape_HWC = shape_HWC
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._expected: Iterator[Tensor] = iter(())
        self._epoch = 0
        self._coming: deque[_Coming] = deque()

    def expect(self, rows: Iterable[Tensor], epoch: int) -> None:
        """Begin with the rows that will be taken from now on in this order, each (B,), instead of others."""
        self.close()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")
        self._expected, self._epoch = iter(rows), epoch
        self._fill(self._pool)

    def take(self, rows_B: Tensor, epoch: int) -> Tensor:
        """Images (B, C, H, W) in channels_last strides of the next rows that are expected, or of any rows if
        none are.
        """
        if self._pool is None or not self._coming:
            return _as_tensor(np.stack([make() for make in self._makers(rows_B, epoch)]))
        coming = self._coming.popleft()
        assert coming.rows_B.equal(rows_B), "other rows are expected next"
        self._fill(self._pool)
        for task in coming.tasks:
            task.result()
        return _as_tensor(coming.images_BHWC)

    def close(self) -> None:
        """End the threads, and forget what is expected."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool = None
        self._coming.clear()

    @property
    def _has_room(self) -> bool:
        tasks = sum(len(coming.tasks) for coming in self._coming)
        return len(self._coming) < COMING or tasks < TASKS_A_THREAD * self._threads

    def _fill(self, pool: ThreadPoolExecutor) -> None:
        while self._has_room and (rows_B := next(self._expected, None)) is not None:
            makers = self._makers(rows_B, self._epoch)
            images_BHWC = np.empty((len(makers), *self._shape_HWC), np.uint8)
            parts = [slice(first, first + TASK_IMAGES) for first in range(0, len(makers), TASK_IMAGES)]
            tasks = [pool.submit(_make, makers[part], images_BHWC[part]) for part in parts]
            self._coming.append(_Coming(rows_B, images_BHWC, tasks))


def _make(makers: Makers, images_BHWC: Pixels) -> None:
    for place, make in enumerate(makers):
        images_BHWC[place] = make()


def _as_tensor(images_BHWC: Pixels) -> Tensor:
    return torch.from_numpy(images_BHWC).permute(0, 3, 1, 2)
