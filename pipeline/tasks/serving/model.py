"""The code that MLflow stores beside a registered ONNX file and runs when the model is loaded.

A copy of this file travels with every model, beside copies of the answer files of its kinds of problem
(classification_answer.py and others), whose functions it calls; so none imports anything of Espalier. This
file is never imported here: MLflow executes it (models from code), and its last line hands MLflow the model.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.abc import SourceLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Else the import writes an id of this machine and calls Microsoft (1.31).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


@dataclass(frozen=True)
class _Problem:
    """One output of the ONNX file. prefix: of its columns. notes: what model.json says of its kind."""

    prefix: str
    output: str
    notes: dict[str, Any]

    @property
    def answer(self) -> str:
        """The artifact, and the function in it, that makes columns of the output."""
        return f"{self.notes['name']}_answer"


class ServedModel(PythonModel):
    """Images in, one row per image out, with the columns of the signature."""

    def load_context(self, context: Any) -> None:
        artifacts = _Artifacts(context.artifacts)
        spec = json.loads(artifacts.content("spec"))
        (self._input,) = spec["inputs"]
        self._problems = _problems(spec)
        self._answers = {each.answer: artifacts.function(each.answer) for each in self._problems}
        self._session = onnxruntime.InferenceSession(
            artifacts.content("onnx"), providers=["CPUExecutionProvider"]
        )

    # A bare np.ndarray is the one hint for arrays that MLflow reads without a warning.
    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> pd.DataFrame:
        """model_input: pixels 0..255 as they are, (B, C, H, W); the ONNX graph normalises them itself."""
        names = [each.output for each in self._problems]
        found = self._session.run(names, {self._input: model_input.astype(np.float32)})
        columns: dict[str, Any] = {}
        for each, numbers in zip(self._problems, found, strict=True):
            answer = self._answers[each.answer](numbers, each.notes)
            columns |= {each.prefix + name: values for name, values in answer.items()}
        return pd.DataFrame(columns)


def _problems(spec: Mapping[str, Any]) -> list[_Problem]:
    """The problem that a model is for, or one a head; a head's output has its name."""
    task = spec["task"]
    if "heads" in task:
        return [_Problem(f"{name}_", name, head["task"]) for name, head in task["heads"].items()]
    (output,) = spec["outputs"]
    return [_Problem("", output, task)]


class _Artifacts:
    """Files beside the model. Raises ValueError for one that is not what was registered."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = paths
        self._sealed = json.loads(Path(paths["seal"]).read_bytes())["files"]

    def content(self, name: str) -> bytes:
        path = Path(self._paths[name])
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self._sealed.get(path.name):
            raise ValueError(
                f"{path}: not the file that was registered: it is damaged; load the model anew from the "
                "registry"
            )
        return content

    def function(self, name: str) -> Callable[[Any, Mapping[str, Any]], dict[str, Any]]:
        """The function that has its file's name. No other model shares it: its module stands neither in
        sys.modules nor on sys.path.
        """
        loader = _Code(self._paths[name], self.content(name))
        spec = spec_from_loader(name, loader)
        assert spec is not None, "a loader of source always has one"
        module = module_from_spec(spec)
        loader.exec_module(module)
        found: Callable[[Any, Mapping[str, Any]], dict[str, Any]] = getattr(module, name)
        return found


class _Code(SourceLoader):
    """Runs the bytes that were checked: Python reads the file no second time and keeps no compiled copy."""

    def __init__(self, path: str, content: bytes) -> None:
        self._path, self._content = path, content

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str | bytes) -> bytes:
        return self._content


set_model(ServedModel())
