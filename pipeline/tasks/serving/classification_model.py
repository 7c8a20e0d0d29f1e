"""The code that MLflow stores beside a registered ONNX file and runs when the model is loaded.

A copy of this file travels with every model, so it imports nothing of Espalier. It is never imported
here: MLflow executes it (models from code), and its last line hands MLflow the model.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Else the import writes an id of this machine and calls Microsoft (1.31).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class Classifier(PythonModel):
    """Images in, one row per image out: `label` (a class), `class_index`, `probability` (of the best)."""

    def load_context(self, context: Any) -> None:
        onnx = Path(context.artifacts["onnx"])
        sealed = json.loads(Path(context.artifacts["seal"]).read_text(encoding="utf-8"))["files"][
            "model.onnx"
        ]
        if hashlib.sha256(onnx.read_bytes()).hexdigest() != sealed:
            raise ValueError(
                f"{onnx}: not the file that was registered: it is damaged; load the model anew from the "
                "registry"
            )
        self._session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
        spec = json.loads(Path(context.artifacts["spec"]).read_text(encoding="utf-8"))
        self._classes = spec["task"]["classes"]
        (self._input,), (self._output,) = spec["inputs"], spec["outputs"]

    # A bare np.ndarray is the one hint for arrays that MLflow reads without a warning.
    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> pd.DataFrame:
        """model_input: pixels 0..255 as they are, (B, C, H, W); the ONNX graph normalises them itself."""
        (logits_BK,) = self._session.run([self._output], {self._input: model_input.astype(np.float32)})
        shifted_BK = np.exp(logits_BK - logits_BK.max(axis=1, keepdims=True))
        best_B = logits_BK.argmax(axis=1)
        return pd.DataFrame(
            {
                "label": [self._classes[index] for index in best_B],
                "class_index": best_B.astype(np.int64),
                "probability": (shifted_BK.max(axis=1) / shifted_BK.sum(axis=1)).astype(np.float64),
            }
        )


set_model(Classifier())
