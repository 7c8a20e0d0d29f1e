"""An exported file in onnxruntime, without torch, whose import takes longer than timing it.

Letter: B batch.
"""

import platform
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from pipeline.errors import ArtifactError

MARK = "espalier.format"
"""Key of the metadata that every exported file has."""
Numbers = npt.NDArray[np.float32]
"""An output of a network."""
InputPixels = npt.NDArray[np.uint8]
SEVERE = 3
"""onnxruntime's log level for errors: its warnings go to stderr behind Python's back."""


class OnnxModel:
    """A session on the CPU with a fixed number of threads; equal inputs give equal outputs.

    Raises ArtifactError if the file is missing, corrupt or not one of ours.
    """

    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = SEVERE
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            reason = " ".join(str(error).split())
            raise ArtifactError(f"{path}: not a readable ONNX file ({reason}); export it again") from error
        self.inputs = [value.name for value in self._session.get_inputs()]
        self.outputs = [value.name for value in self._session.get_outputs()]
        self.shape: list[int] = self._session.get_inputs()[0].shape[1:]
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        if MARK not in self.metadata or len(self.inputs) != 1:
            raise ArtifactError(
                f"{path}: not a file that Espalier exported (inputs {self.inputs}, outputs {self.outputs}); "
                "export it again"
            )

    def example(self, batch: int, generator: np.random.Generator) -> npt.NDArray[np.float32]:
        """Noise in the place of an input of the file."""
        return generator.integers(0, 256, (batch, *self.shape)).astype(np.float32)

    def answer(self, pixels: InputPixels | npt.NDArray[np.float32]) -> dict[str, Numbers]:
        """All outputs, by name, from raw pixels 0..255."""
        images = np.ascontiguousarray(pixels, dtype=np.float32)
        found = self._session.run(self.outputs, {self.inputs[0]: images})
        return dict(zip(self.outputs, found, strict=True))


def device_name() -> str:
    """The CPU's model name, or the machine's architecture if the system does not tell it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
