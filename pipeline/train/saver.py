"""When a run is checkpointed, and the thread that writes while the training goes on."""

import threading
import time
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from pipeline import dist
from pipeline.errors import EspalierError
from pipeline.train.checkpoint import State

FIRST_STEPS = 10
"""Steps before the first checkpoint, by when the time of a step is known."""


class CheckpointStore(Protocol):
    """Store and RemoteStore."""

    @property
    def folder(self) -> Path | str:
        """For a person to read."""

    def save(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None: ...

    def newest(self) -> State | None: ...


class Saver:
    """Every rank asks at which steps to checkpoint, and all get the same answer; rank 0 writes.

    seconds: time between two checkpoints; 0 makes one at every step. The pace in steps is set anew at every checkpoint,
    by rank 0's clock, because at a checkpoint all ranks speak to each other anyway.
    """

    def __init__(self, store: CheckpointStore, seconds: float, device: str) -> None:
        self._store = store
        self._seconds = seconds
        self._device = device
        self._step, self._time, self._next = 0, 0.0, 0
        self._thread: threading.Thread | None = None
        self._error: EspalierError | None = None

    def start(self, step: int) -> None:
        self._step, self._time = step, time.monotonic()
        self._next = step + (FIRST_STEPS if self._seconds else 1)

    def due(self, step: int) -> bool:
        return step >= self._next

    def save(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """On rank 0: copy the state, and write the copy beside the training. Raises the error of the write before."""
        self.finish()
        copy = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        self._thread = threading.Thread(target=self._write, args=(step, copy, values), name="checkpoint")
        self._thread.start()

    def plan(self, step: int) -> None:
        """Agree with all ranks on the next step to checkpoint."""
        now = time.monotonic()
        step_s = (now - self._time) / max(1, step - self._step)
        wanted = max(1, round(self._seconds / max(step_s, 1e-6)))
        self._next = step + dist.from_first(wanted, self._device)
        self._step, self._time = step, now

    def finish(self) -> None:
        """Wait for the last write. Raises EspalierError where it failed."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            raise self._error

    def _write(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        try:
            self._store.save(step, tensors, values)
        except EspalierError as error:
            self._error = error
