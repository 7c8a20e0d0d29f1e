"""An exported file in onnxruntime, and how far its answers are from another model's. Letters: B batch, C, H, W, K."""

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor, nn

from pipeline.compress.export import INPUT_NAME, OUTPUT_NAME
from pipeline.data.reader import Split, normalise
from pipeline.errors import ArtifactError
from pipeline.models.spec import ModelSpec

Logits = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
SEVERE = 3
"""onnxruntime's log level for errors: its warnings go to stderr behind Python's back."""


class OnnxModel:
    """A session on the CPU with a fixed number of threads; equal inputs give equal logits.

    Raises ArtifactError where the file is missing, corrupt or not one of ours.
    """

    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = SEVERE
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            reason = " ".join(str(error).split())
            raise ArtifactError(f"{path}: not a readable ONNX file ({reason}); export it again") from error
        names = [value.name for value in (*self._session.get_inputs(), *self._session.get_outputs())]
        if names != [INPUT_NAME, OUTPUT_NAME]:
            expected = [INPUT_NAME, OUTPUT_NAME]
            raise ArtifactError(f"{path}: its inputs and outputs are {names}, expected {expected}; export it again")
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def logits(self, pixels_BCHW: Pixels | npt.NDArray[np.float32]) -> Logits:
        """(B, K) from raw pixels 0..255."""
        images = np.ascontiguousarray(pixels_BCHW, dtype=np.float32)
        result: Logits = self._session.run([OUTPUT_NAME], {INPUT_NAME: images})[0]
        return result


@dataclass(frozen=True)
class Parity:
    """max_diff: largest absolute difference of a logit; agreement: fraction of images with the same top-1."""

    max_diff: float
    agreement: float
    images: int


def parity(first: Logits, second: Logits) -> Parity:
    """Compare the logits (B, K) of two models for the same images."""
    return Parity(
        max_diff=float(np.abs(first - second).max()),
        agreement=float((first.argmax(axis=1) == second.argmax(axis=1)).mean()),
        images=len(first),
    )


def batches(split: Split, indices: Tensor, batch_size: int) -> Iterator[Pixels]:
    """Images (B, C, H, W) of a split at `indices`, in that order."""
    for part in torch.split(indices, batch_size):
        yield split.images(part).numpy()


def onnx_logits(
    model: OnnxModel, split: Split, indices: Tensor, batch_size: int, view: Callable[[Pixels], Pixels] | None = None
) -> Logits:
    """(B, K) for the rows at `indices`, in that order, or for a view of each of their images."""
    found = batches(split, indices, batch_size)
    return np.concatenate([model.logits(view(images) if view else images) for images in found])


def torch_logits(model: nn.Module, spec: ModelSpec, split: Split, indices: Tensor, batch_size: int) -> Logits:
    mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
    with torch.no_grad():
        parts = [model.eval()(normalise(split.images(part), mean, std)) for part in torch.split(indices, batch_size)]
    logits: Logits = torch.cat(parts).numpy()
    return logits


def device_name() -> str:
    """The CPU's model name, or the machine's architecture where the system does not tell it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
