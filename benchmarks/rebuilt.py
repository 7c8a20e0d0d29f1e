"""`python -m benchmarks.rebuilt THREADS FOLDER...`: what models on disk answer in a process that knows
nothing else of them.
"""

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.models.description.spec import ModelSpec
from pipeline.models.disk.weights import load_model
from pipeline.models.nets.build import example

IMAGES = 2


def logits_digest(model: nn.Module, spec: ModelSpec) -> str:
    """SHA-256 of the logits for two images of noise."""
    with torch.no_grad():
        logits_BK: Tensor = model(example(spec, IMAGES, seed=0))
    return hashlib.sha256(logits_BK.numpy().tobytes()).hexdigest()


def digests_elsewhere(folders: Sequence[Path], threads: int) -> list[str]:
    """What logits_digest() gives of each model, all in one process of their own."""
    command = [sys.executable, "-m", "benchmarks.rebuilt", str(threads), *map(str, folders)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def main(threads: str, *folders: str) -> None:
    torch.set_num_threads(int(threads))
    for folder in folders:
        spec, model = load_model(Path(folder))
        print(logits_digest(model, spec))


if __name__ == "__main__":
    main(*sys.argv[1:])
