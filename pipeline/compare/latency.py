"""How long the deployed files take, on the device named beside the numbers."""

import math
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from pipeline.compare.records import Latency, Speedup, Timing, references
from pipeline.evaluate.params import LatencyParams
from pipeline.export.session import OnnxModel, device_name

BLOCKS = 10
"""Each opens the files anew: where the memory of a session lies made equal files differ by up to 2 %
(ResNet-20, 8 sessions in one process). The lowest and the highest of ten ratios hold their median with a
confidence of 1 - 2 / 2^10, whatever their distribution is; of six it would be 96.9 %, but then one of 64
comparisons of equal files says slower. Turns are no independent repeats: what a machine does beside may
last longer than one. What lasts longer than a block falls on all of its files."""
BLOCK_ROUNDS = 2
"""Rounds of a block, in which files and batch sizes take turns, each time in another order: a busy moment of
the machine falls on all of them, and none always runs after the same other."""
P95 = 95

Times = dict[tuple[str, int], list[float]]
"""Seconds of each run, by variant and batch size."""


def measure_latency(files: Mapping[str, Path], params: LatencyParams) -> dict[str, Latency]:
    """Time the ONNX file of each variant on noise, all of them in turns in this process.

    files: dense and what is compared with it. Between processes the same file varies by 10-25 % on a shared
    machine.
    """
    generator = np.random.default_rng(0)
    first = OnnxModel(next(iter(files.values())), params.threads)
    images = {size: first.example(size, generator) for size in params.batches}
    blocks = [_take_turns(files, images, params, generator) for _ in range(BLOCKS)]
    runtime = f"onnxruntime {onnxruntime.__version__}"
    return {
        name: Latency(
            device=device_name(),
            threads=params.threads,
            runtime=runtime,
            batches={size: timing(blocks, name, size) for size in params.batches},
        )
        for name in files
    }


def timing(blocks: list[Times], name: str, size: int) -> Timing:
    """What the blocks say of one variant at one batch size."""
    seconds = [second for block in blocks for second in block[name, size]]
    own = statistics.median(seconds)
    return Timing(
        median_ms=round(own * 1e3, 4),
        p95_ms=round(float(np.percentile(seconds, P95)) * 1e3, 4),
        images_per_s=round(size / own, 1),
        speedup={other: speedup(blocks, name, other, size) for other in references(name) or [name]},
        repeats=len(seconds),
    )


def speedup(blocks: list[Times], name: str, other: str, size: int) -> Speedup:
    """The ratio is the middle of the blocks', and the interval is from the lowest to the highest of them."""
    ratios = [
        statistics.median(block[other, size]) / statistics.median(block[name, size]) for block in blocks
    ]
    return Speedup(
        ratio=round(statistics.median(ratios), 3), low=round(min(ratios), 3), high=round(max(ratios), 3)
    )


def _take_turns(
    files: Mapping[str, Path],
    images: Mapping[int, npt.NDArray[np.float32]],
    params: LatencyParams,
    generator: np.random.Generator,
) -> Times:
    """One block."""
    models = {name: OnnxModel(path, params.threads) for name, path in files.items()}
    runs = {size: max(1, round(params.repeats / BLOCKS / BLOCK_ROUNDS / math.sqrt(size))) for size in images}
    times: Times = {(name, size): [] for name in models for size in images}
    for name, size in times:
        _time(models[name], images[size], math.ceil(params.warmup / BLOCKS))
    keys = list(times)
    for _ in range(BLOCK_ROUNDS):
        for number in generator.permutation(len(keys)):
            name, size = keys[number]
            times[name, size] += _time(models[name], images[size], runs[size])
    return times


def _time(model: OnnxModel, images: npt.NDArray[np.float32], repeats: int) -> list[float]:
    """Seconds of each run."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        model.answer(images)
        times.append(time.perf_counter() - start)
    return times
