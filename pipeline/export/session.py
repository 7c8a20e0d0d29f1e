"""An exported file in onnxruntime, without torch, whose import takes longer than timing it.

Letters: B batch, C, H, W, K.
"""

import platform
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from pipeline.errors import ArtifactError

INPUT_NAME = "pixels"
OUTPUT_NAME = "logits"
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
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            reason = " ".join(str(error).split())
            raise ArtifactError(f"{path}: not a readable ONNX file ({reason}); export it again") from error
        names = [value.name for value in (*self._session.get_inputs(), *self._session.get_outputs())]
        if names != [INPUT_NAME, OUTPUT_NAME]:
            expected = [INPUT_NAME, OUTPUT_NAME]
            raise ArtifactError(
                f"{path}: its inputs and outputs are {names}, expected {expected}; export it again"
            )
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def logits(self, pixels_BCHW: Pixels | npt.NDArray[np.float32]) -> Logits:
        """(B, K) from raw pixels 0..255."""
        images = np.ascontiguousarray(pixels_BCHW, dtype=np.float32)
        result: Logits = self._session.run([OUTPUT_NAME], {INPUT_NAME: images})[0]
        return result


def device_name() -> str:
    """The CPU's model name, or the machine's architecture where the system does not tell it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
