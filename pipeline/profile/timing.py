"""Networks ready to run on a device, and how they are timed."""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np
import onnxruntime
import torch
from torch import nn

from pipeline.errors import CompressionError
from pipeline.export.onnx import FromPixels, export_onnx
from pipeline.export.session import OnnxModel, device_name
from pipeline.models.description.spec import ONNX_NAME, WEIGHTS_NAME, ModelSpec, WeightsFile
from pipeline.models.nets.build import example
from pipeline.prune.params import PruneTarget

TURN_S = 0.1
"""A turn is at least one run and as long as this. Its first run finds the caches full of another network,
which took ResNet-18 a fifth longer at batch 1, and counts only if it is alone. Of several the median counts,
as in `compare`. The fastest is steadier under other work but not what a user sees: of five repeats of 500
runs of ResNet-18 at batch 1, it put half of the network at 0.40-0.49, the median at 0.43-0.45 (4 quiet
virtual Xeon cores; the dense one reads 45 MB of weights in each run)."""
UNSAVED = WeightsFile(kind="torch", file=WEIGHTS_NAME, sha256="0" * 64, size_bytes=1)
"""Stands in the metadata of an export that is timed and forgotten."""

TimedCall = Callable[[], object]


class TimingDevice(Protocol):
    """Where networks run."""

    name: str
    runtime: str

    def network(self, spec: ModelSpec, model: nn.Module) -> TimedCall: ...

    def seconds(self, run: TimedCall) -> float: ...


def open_device(target: PruneTarget) -> TimingDevice:
    """The device of a target of latency; for other targets, a batch of one on the CPU.

    Raises CompressionError if this machine has no such device.
    """
    if target.device == "cuda":
        return CudaDevice(target.batch or 1)
    return CpuDevice(target.batch or 1, target.threads or 1)


class CpuDevice:
    """onnxruntime on the file that is deployed."""

    def __init__(self, batch: int, threads: int) -> None:
        self.name, self.runtime = device_name(), f"{threads} threads, onnxruntime {onnxruntime.__version__}"
        self._batch, self._threads = batch, threads

    def network(self, spec: ModelSpec, model: nn.Module) -> TimedCall:
        with TemporaryDirectory(prefix="espalier-profile-") as name:
            path = Path(name) / ONNX_NAME
            export_onnx(spec.model_copy(update={"weights": UNSAVED}), model, path)
            session = OnnxModel(path, self._threads)
        images = example(spec, self._batch, seed=0).numpy()
        return lambda: session.answer(images)

    def seconds(self, run: TimedCall) -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start


class CudaDevice:
    """torch on the first GPU, timed by the GPU itself."""

    def __init__(self, batch: int) -> None:
        if not torch.cuda.is_available():
            raise CompressionError(
                "prune.target.device is cuda, but torch sees no GPU here; run the stage `profile` where one "
                "is, or set cpu"
            )
        self.name, self.runtime = torch.cuda.get_device_name(), f"torch {torch.__version__}"
        self._batch = batch

    def network(self, spec: ModelSpec, model: nn.Module) -> TimedCall:
        ready = copy.deepcopy(FromPixels(model, spec)).eval().cuda()
        images = example(spec, self._batch, seed=0).cuda()

        @torch.no_grad()
        def run() -> object:
            return ready(images)

        return run

    def seconds(self, run: TimedCall) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) / 1e3


def turn_s(device: TimingDevice, run: TimedCall) -> float:
    """Seconds of the middle run of a turn."""
    first = device.seconds(run)
    further: list[float] = []
    while first + sum(further) < TURN_S:
        further.append(device.seconds(run))
    return statistics.median(further or [first])


def in_turns(device: TimingDevice, runs: Sequence[TimedCall], rounds: int) -> list[list[float]]:
    """How long each takes as a fraction of the first: a number for each round, in which all have a turn."""
    seconds = np.array([[turn_s(device, run) for run in runs] for _ in range(rounds)])
    fractions: list[list[float]] = (seconds / seconds[:, :1]).T.tolist()
    return fractions
