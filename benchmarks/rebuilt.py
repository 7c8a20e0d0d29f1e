"""`python -m benchmarks.rebuilt FOLDER THREADS`: what a model on disk answers in a process that knows nothing else of it."""

import hashlib
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.models.spec import ModelSpec
from pipeline.models.weights import load_model

IMAGES = 2


def logits_digest(model: nn.Module, spec: ModelSpec) -> str:
    """SHA-256 of the logits for two images of noise."""
    architecture = spec.architecture
    shape_BCHW = (IMAGES, architecture.channels, architecture.image_height, architecture.image_width)
    images_BCHW = torch.randn(shape_BCHW, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits_BK: Tensor = model(images_BCHW)
    return hashlib.sha256(logits_BK.numpy().tobytes()).hexdigest()


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    spec, model = load_model(Path(sys.argv[1]))
    print(logits_digest(model, spec))
