"""How long the deployed files take, on the device named beside the numbers."""

import math
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from pipeline.compare.records import Latency, Timing, references
from pipeline.compress.session import OnnxModel, device_name
from pipeline.evaluate.params import LatencyParams

ROUNDS = 20
"""Files and batch sizes take turns this often, so that a busy moment of the machine falls on all of them."""
P95 = 95

Times = dict[tuple[str, int], list[float]]
"""Seconds of each run, by variant and batch size."""


def measure_latency(files: Mapping[str, Path], shape_CHW: tuple[int, int, int], params: LatencyParams) -> dict[str, Latency]:
    """Time the ONNX file of each variant on noise, all of them in turns in this process.

    files: dense and what is compared with it. Between processes the same file varies by 10-25 % on a shared machine.
    """
    times = _take_turns({name: OnnxModel(path, params.threads) for name, path in files.items()}, shape_CHW, params)
    medians = {key: float(np.median(seconds)) for key, seconds in times.items()}
    runtime = f"onnxruntime {onnxruntime.__version__}"

    def timing(name: str, size: int) -> Timing:
        own = medians[name, size]
        others = references(name) or [name]
        return Timing(
            median_ms=round(own * 1e3, 4),
            p95_ms=round(float(np.percentile(times[name, size], P95)) * 1e3, 4),
            images_per_s=round(size / own, 1),
            speedup={other: round(medians[other, size] / own, 3) for other in others},
            repeats=len(times[name, size]),
        )

    return {
        name: Latency(
            device=device_name(),
            threads=params.threads,
            runtime=runtime,
            batches={size: timing(name, size) for size in params.batches},
        )
        for name in files
    }


def _take_turns(models: Mapping[str, OnnxModel], shape_CHW: tuple[int, int, int], params: LatencyParams) -> Times:
    generator = np.random.default_rng(0)
    images = {size: generator.integers(0, 256, (size, *shape_CHW)).astype(np.float32) for size in params.batches}
    turns = {size: max(1, round(params.repeats / ROUNDS / math.sqrt(size))) for size in params.batches}
    times: Times = {(name, size): [] for name in models for size in params.batches}
    for name, size in times:
        _time(models[name], images[size], params.warmup)
    for _ in range(ROUNDS):
        for name, size in times:
            times[name, size] += _time(models[name], images[size], turns[size])
    return times


def _time(model: OnnxModel, images: npt.NDArray[np.float32], repeats: int) -> list[float]:
    """Seconds of each run."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        model.logits(images)
        times.append(time.perf_counter() - start)
    return times
