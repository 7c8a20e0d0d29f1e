"""Candidates of a frontier, made by hand, and git in a test's folder."""

import subprocess
from pathlib import Path
from typing import Any

from pipeline.frontier.candidates import Candidate, Frontier, Speed

AXES = ["prune.max_ratio=0.5,0.7", "quantize.calibration_images=64,128"]


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def candidate(variant: str, label: str, speedup: float, score: float, **changes: Any) -> Candidate:
    values: dict[str, Any] = {
        "experiment": f"frontier-{label}",
        "val_score": score,
        "macs": 100,
        "size_bytes": 1000,
        "measured_on": "CPU x",
        "speeds": {1: Speed(1 / speedup, speedup, 1.0), 64: Speed(64 / speedup, speedup, 1.0)},
    }
    return Candidate(variant=variant, label=label, score=score, **{**values, **changes})


DENSE = candidate("dense", "", 1.0, 0.98, speeds={1: Speed(2.0, 1.0, 1.0), 64: Speed(64.0, 1.0, 1.0)})


TINY = candidate("quantized", "0.3", 1.5, 0.9, size_bytes=10)


def sample() -> Frontier:
    found = [
        candidate("finetuned", "0.5", 2.0, 0.97, size_bytes=500),
        candidate("finetuned", "0.7", 0.8, 0.975, size_bytes=700),
        candidate("quantized", "0.5", 4.0, 0.95, size_bytes=150),
        candidate("quantized", "0.7", 3.0, 0.97, val_score=0.979, size_bytes=200),
    ]
    return Frontier(DENSE, found, ["prune.max_ratio"], left_out={}, min_step=1.0)


def read_raw_data(project: Path) -> None:
    """Let the project's source be what lies in data/raw, instead of scikit-learn's digits."""
    params = project / "params.yaml"
    digits = "source: {kind: digits, path: data/raw/README.md}"
    text = params.read_text()
    assert digits in text
    params.write_text(text.replace(digits, "source: {kind: folder, path: data/raw}"))
