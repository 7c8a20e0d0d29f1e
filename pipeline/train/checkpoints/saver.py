"""Agreement of all ranks on a checkpoint or on leaving, and the thread that writes beside the training.

No step waits for a write: if one takes longer than the time to the next checkpoint, of the copies that come
meanwhile only the newest is written. So rank 0 never keeps its peers in a collective operation, however long
a storage takes. Letters: R ranks, W votes of a rank.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from pipeline.train import ranks
from pipeline.train.checkpoints.local import CheckpointState

FIRST_STEPS = 10
"""Steps before the first meeting, by when the time of a step is known; it makes the first checkpoint."""
AGREE_EVERY_S = 1.0
"""Time between two agreements: lost at most if a worker is told to go. Each is one gather of three
numbers."""


class CheckpointStore(Protocol):
    """Store and RemoteStore."""

    @property
    def folder(self) -> Path | str:
        """Place of the checkpoints, for a person to read."""

    def save(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None: ...

    def newest(self) -> CheckpointState | None: ...


class StepDecision(NamedTuple):
    """What all ranks do at a step. leave: after that checkpoint, because one of them was told to go."""

    save: bool
    leave: bool


class Saver:
    """Every rank asks at which steps to meet, and all get the same answer; rank 0 writes.

    seconds: time between two checkpoints; 0 makes one at every step. The pace in steps is set anew at every
    meeting, by rank 0's clock.
    """

    def __init__(
        self, store: CheckpointStore, seconds: float, device: str, agree_every_s: float = AGREE_EVERY_S
    ) -> None:
        self._store = store
        self._seconds = seconds
        self._device = device
        self._agree_every_s = agree_every_s
        self._step, self._time, self._next = 0, 0.0, 0
        self._saved = float("-inf")
        self._lock = threading.Lock()
        self._waiting: Callable[[], None] | None = None
        """The write of the newest copy, until its turn comes."""
        self._writer: threading.Thread | None = None
        """The thread that writes; None if none runs."""
        self._error: Exception | None = None

    def start(self, step: int) -> None:
        self._step, self._time = step, time.monotonic()
        self._next = step + (FIRST_STEPS if self._seconds else 1)

    def due(self, step: int) -> bool:
        return step >= self._next

    def agree(self, step: int, *, leaving: bool) -> StepDecision:
        """Agree, at a step that is due, on what all ranks do. leaving: whether this one was told to go.

        Raises on rank 0 what an earlier write raised.
        """
        self._raise()
        # 1. This rank's votes: steps to the next agreement, whether to save, whether to leave.
        now = time.monotonic()
        step_s = (now - self._time) / max(1, step - self._step)
        pace = max(1, round(min(self._seconds, self._agree_every_s) / max(step_s, 1e-6)))
        votes_RW = ranks.gather_ranks(
            torch.tensor([pace, now - self._saved >= self._seconds, leaving], device=self._device)
        ).cpu()
        # 2. Rank 0's clock decides on pace and saving, so that all ranks do the same.
        self._step, self._time, self._next = step, now, step + int(votes_RW[0, 0])
        # 3. One rank that leaves takes all along, after a checkpoint.
        leave = bool(votes_RW[:, 2].any())
        return StepDecision(save=leave or bool(votes_RW[0, 1]), leave=leave)

    def save(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Copy the state, on rank 0, and write the copy beside the training.

        Raises what a write before raised.
        """
        self._raise()
        self._saved = time.monotonic()
        with self._lock:
            # before the new copy is made: memory holds two at most, with the one that is being written
            self._waiting = None
        copy = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        with self._lock:
            self._waiting = partial(self._store.save, step, copy, values)
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="checkpoint")
                self._writer.start()

    def finish(self) -> None:
        """Wait until the newest copy is written. Raises what a write raised."""
        if writer := self._writer:
            writer.join()
        self._raise()

    def _write(self) -> None:
        while write := self._next_write():
            try:
                write()
            except (
                Exception
            ) as error:  # whatever it is, it must reach the training, which else goes on without checkpoints
                self._error = error

    def _next_write(self) -> Callable[[], None] | None:
        with self._lock:
            write, self._waiting = self._waiting, None
            if write is None:
                self._writer = None
            return write

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
