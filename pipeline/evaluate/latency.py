"""How long the deployed file takes, on the device named beside the numbers."""

import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from pipeline.compress.runtime import OnnxModel
from pipeline.evaluate.params import LatencyParams

BATCH = 64
ROUNDS = 20
"""Files and batch sizes take turns this often, so that a busy moment of the machine falls on all of them."""
P95 = 95


@dataclass(frozen=True)
class Latency:
    """Times of one file on one device; `repeats` runs at batch 1, `batch64_repeats` at batch 64.

    speedup, speedup64: the dense file's median time over this one's, at batch 1 and 64, both timed in turns in
    this process: between processes the same file varies by 10-25 % on a shared machine.
    """

    device: str
    threads: int
    runtime: str
    batch1_median_ms: float
    batch1_p95_ms: float
    batch64_images_per_s: float
    speedup: float
    speedup64: float
    repeats: int
    batch64_repeats: int

    def record(self) -> dict[str, str | int | float]:
        return asdict(self)


def measure_latency(file: Path, dense: Path, shape_CHW: tuple[int, int, int], params: LatencyParams) -> Latency:
    """Time an ONNX file on noise, in turns with the dense one; batch 1 by median and 95th percentile, batch 64 by median.

    `dense` may be `file` itself, whose speed-up is then 1 by definition.
    """
    files = {path: OnnxModel(path, params.threads) for path in {file: None, dense: None}}
    generator = np.random.default_rng(0)
    batches = {size: generator.integers(0, 256, (size, *shape_CHW)).astype(np.float32) for size in (1, BATCH)}
    turns = {1: max(1, params.repeats // ROUNDS), BATCH: max(1, params.repeats // ROUNDS // 10)}
    times: dict[tuple[Path, int], list[float]] = {(path, size): [] for path in files for size in batches}
    for path, size in times:
        _time(files[path], batches[size], params.warmup)
    for _ in range(ROUNDS):
        for path, size in times:
            times[path, size] += _time(files[path], batches[size], turns[size])
    medians = {key: float(np.median(seconds)) for key, seconds in times.items()}
    return Latency(
        device=device_name(),
        threads=params.threads,
        runtime=f"onnxruntime {onnxruntime.__version__}",
        batch1_median_ms=round(medians[file, 1] * 1e3, 4),
        batch1_p95_ms=round(float(np.percentile(times[file, 1], P95)) * 1e3, 4),
        batch64_images_per_s=round(BATCH / medians[file, BATCH], 1),
        speedup=round(medians[dense, 1] / medians[file, 1], 3),
        speedup64=round(medians[dense, BATCH] / medians[file, BATCH], 3),
        repeats=len(times[file, 1]),
        batch64_repeats=len(times[file, BATCH]),
    )


def device_name() -> str:
    """The CPU's model name, or the machine's architecture where the system does not tell it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _time(model: OnnxModel, images: npt.NDArray[np.float32], repeats: int) -> list[float]:
    """Seconds of each run."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        model.logits(images)
        times.append(time.perf_counter() - start)
    return times
