"""Registered models of each kind of problem, with a tiny ONNX file whose outputs numpy computes as well."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, checker, helper, numpy_helper, save_model

from pipeline.export.parity import Parity
from pipeline.models.description.spec import ModelSpec, TensorSpec
from pipeline.models.disk.artifact import SPEC_NAME, save_onnx
from pipeline.registry.candidates import Export
from pipeline.registry.served import save_served
from pipeline.tasks.description.heads import HeadNotes, HeadsNotes
from pipeline.tasks.description.multilabel import MultilabelNotes
from pipeline.tasks.description.params import TaskNotes
from pipeline.tasks.description.regression import RegressionNotes
from pipeline.tasks.serving.protocol import Serving
from pipeline.tasks.serving.serving import make_serving
from tests.support.figures_samples import SHAPE, linear_spec
from tests.support.problems import KIND

TRAITS = MultilabelNotes(classes=['a "wet", b', "fürry", "labels"], thresholds=[0.5, 0.9, 0.0])
SIZE = RegressionNotes(mean=12.5, std=3.0, low=2.0, high=30.0)
HEADS = HeadsNotes(
    heads={
        "kind": HeadNotes(weight=2.0, task=KIND),
        "size": HeadNotes(weight=1.0, task=SIZE),
        "traits": HeadNotes(weight=1.5, task=TRAITS),
    }
)
NOTES: dict[str, TaskNotes] = {
    "classification": KIND,
    "multilabel": TRAITS,
    "regression": SIZE,
    "heads": HEADS,
}
OUTPUTS = {
    "classification": {"logits": 3},
    "multilabel": {"logits": 3},
    "regression": {"value": 1},
    "heads": {"traits": 3, "kind": 3, "size": 1},
}
"""How many numbers each output of the ONNX file has; its order is not that of the heads."""
IMAGES = np.random.default_rng(5).integers(0, 256, (6, *SHAPE)).astype(np.uint8)


def numbers_of(kind: str, images: npt.NDArray[np.uint8] = IMAGES) -> dict[str, npt.NDArray[np.float64]]:
    """The outputs of a kind's ONNX file, (B, K) each."""
    flat = images.reshape(len(images), -1) / 255
    return {name: flat @ weights for name, weights in _weights(OUTPUTS[kind]).items()}


def saved_model(folder: Path, kind: str, serving: Serving | None = None) -> Path:
    """What the registry stores of a model of this kind: a folder that MLflow loads."""
    folder.mkdir()
    outputs = OUTPUTS[kind]
    onnx = folder / "model.onnx"
    _write_onnx(onnx, _weights(outputs))
    spec = save_onnx(folder / "artifact", _spec(NOTES[kind], outputs), onnx)
    parity = Parity(against="the torch model", run_by="hand", max_diff=0.0, agreement=1.0, images=1)
    export = Export("dense", onnx, folder / "artifact" / SPEC_NAME, None, spec, parity)
    save_served(folder, export, serving or make_serving(NOTES[kind]), "# card\n", "m-1")
    return folder / "model"


def _spec(notes: TaskNotes, outputs: Mapping[str, int]) -> ModelSpec:
    base = linear_spec(SHAPE, {"data": "d" * 64})
    architecture = base.architecture.model_copy(update={"num_outputs": sum(outputs.values())})
    given = {name: TensorSpec(shape=[size], meaning="a test") for name, size in outputs.items()}
    values = {**dict(base), "architecture": architecture, "outputs": given, "task": notes.model_dump()}
    return ModelSpec.model_validate(values)


def _weights(outputs: Mapping[str, int]) -> dict[str, npt.NDArray[np.float64]]:
    generator, pixels = np.random.default_rng(9), int(np.prod(SHAPE))
    return {name: generator.normal(size=(pixels, size)) for name, size in outputs.items()}


def _write_onnx(path: Path, weights: Mapping[str, npt.NDArray[np.float64]]) -> None:
    """pixels (B, C, H, W) of 0..255 -> each output, by a matrix."""
    constants = {"scale": np.array(255.0), **{f"{name}.weight": each for name, each in weights.items()}}
    graph = helper.make_graph(
        [
            helper.make_node("Div", ["pixels", "scale"], ["scaled"]),
            helper.make_node("Flatten", ["scaled"], ["flat"], axis=1),
            *(helper.make_node("MatMul", ["flat", f"{name}.weight"], [name]) for name in weights),
        ],
        "linear",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", *SHAPE])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", each.shape[1]])
            for name, each in weights.items()
        ],
        [numpy_helper.from_array(each.astype(np.float32), name) for name, each in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    checker.check_model(model)
    save_model(model, str(path))
