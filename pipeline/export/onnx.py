"""The deployment format: an ONNX file that takes raw pixels and runs without this project.

Its inputs and outputs have the names, shapes and meanings that the spec gives, any batch. The normalisation
is part of the graph, so that a file cannot be served with the wrong one. Class names and digests are in its
metadata, and nodes are named by their modules. Equal models give equal bytes.
"""

import ast
import copy
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import ml_dtypes
import onnx
import torch
from torch import Tensor, nn

from pipeline.base.files import write_atomic
from pipeline.data.prepared.reader import LARGEST_PIXEL
from pipeline.errors import CompressionError
from pipeline.export.session import MARK
from pipeline.models.description.spec import ModelSpec
from pipeline.models.nets.build import TRACED, example
from pipeline.models.nets.outputs import named
from pipeline.models.nets.probe import ModuleTracker

PRODUCER = "espalier"
ONNX_FORMAT = "1"
BF16_OPSET = 22
"""The first in which a convolution may be bf16; otherwise files keep to the exporter's own."""


class FromPixels(nn.Module):
    """A model behind its normalisation, with the arithmetic of data/prepared/reader.py, in float32 too.

    dtype: of the model's weights and activations.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, spec: ModelSpec, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.model = model if dtype == torch.float32 else copy.deepcopy(model).to(dtype)
        self.dtype = dtype
        self.outputs = spec.outputs
        self.register_buffer("mean", torch.tensor(spec.preprocessing.mean)[:, None, None] * LARGEST_PIXEL)
        self.register_buffer("std", torch.tensor(spec.preprocessing.std)[:, None, None] * LARGEST_PIXEL)

    def forward(self, pixels_BCHW: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The output, or all of them in the order of the spec."""
        numbers_BK: Tensor = self.model(((pixels_BCHW - self.mean) / self.std).to(self.dtype))
        found = tuple(named(numbers_BK.float(), self.outputs).values())
        return found if len(found) > 1 else found[0]


def export_onnx(spec: ModelSpec, model: nn.Module, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a float32 model as one ONNX file, weights inside; with another dtype, rounded to it.

    Raises CompressionError that names the operator, and the module if it is known, that ONNX lacks.
    """
    wrapped = FromPixels(model, spec, dtype).eval()
    proto = _to_onnx(_trace(wrapped, spec), spec, BF16_OPSET if dtype == torch.bfloat16 else None)
    if dtype == torch.bfloat16:
        _round_convolutions(proto.graph)
    _name_nodes(proto.graph)
    write_onnx(proto, spec, path)


def export_torch(spec: ModelSpec, model: nn.Module, path: Path) -> nn.Module:
    """Write a `.pt2` program, which torch.export.load reads, and return the program that was written.

    Nothing here reads such files: loading one can run code that it holds. Raises CompressionError as
    export_onnx() does.
    """
    program = _trace(FromPixels(model, spec).eval(), spec)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # absolute paths
    program.example_inputs = None  # torch would store them as a pickle, the only one in the file
    content = io.BytesIO()  # a file's name would get into the archive
    torch.export.save(program, content)
    write_atomic(path, content.getvalue())
    return program.module()


def write_onnx(proto: onnx.ModelProto, spec: ModelSpec, path: Path) -> None:
    """Write a graph with the spec's metadata, and without what depends on where and when it was made."""
    _strip(proto.graph)
    for function in proto.functions:
        _strip(function)
    proto.producer_name, proto.producer_version, proto.doc_string = PRODUCER, "", ""
    onnx.helper.set_model_props(proto, _metadata(spec))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, proto.SerializeToString(deterministic=True))


def _trace(wrapped: FromPixels, spec: ModelSpec) -> torch.export.ExportedProgram:
    batch = {0: torch.export.Dim("batch")}
    inputs = (example(spec, TRACED),)
    with ModuleTracker(wrapped.model) as current:
        try:
            return torch.export.export(wrapped, inputs, dynamic_shapes=(batch,), strict=False)
        except (RuntimeError, ValueError, TypeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise CompressionError(
                f"the network cannot be exported to ONNX: module {current.name!r}: {reason}; "
                "its forward pass must not depend on the values of its input"
            ) from error


def _round_convolutions(graph: Any) -> None:
    """Round, in place, weights that the exporter left in float32, folding batch norms into bf16."""
    names = {name for node in graph.node if node.op_type == "Conv" for name in node.input[1:]}
    for tensor in graph.initializer:
        if tensor.name in names and tensor.data_type == onnx.TensorProto.FLOAT:
            rounded = onnx.numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(rounded, tensor.name))
    del graph.value_info[:]  # the notes of what was folded say float32 too


def _to_onnx(program: torch.export.ExportedProgram, spec: ModelSpec, opset: int | None) -> onnx.ModelProto:
    try:
        exported: Any = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            external_data=False,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise CompressionError(_missing_operator(str(error), program)) from error
    proto: onnx.ModelProto = exported.model_proto
    return proto


def _missing_operator(message: str, program: torch.export.ExportedProgram) -> str:
    """What the exporter could not translate, from its message and the traced graph."""
    found = re.search(r"op='([^']+)'", message)
    operator = found[1] if found else message.strip().split("\n")[0]
    # The exporter names a node of its own, decomposed graph; ours still knows the modules.
    short = re.split(r"[.:]", operator)[-1]
    stacks = [
        node.meta.get("nn_module_stack", {}) for node in program.graph.nodes if short in str(node.target)
    ]
    modules = [name.removeprefix("model.") for stack in stacks for name, _ in stack.values()]
    where = f" of module {modules[-1]!r}" if modules else ""
    return (
        f"the network cannot be exported to ONNX: operator {operator!r}{where} has no ONNX form; use "
        "another layer there"
    )


def _name_nodes(graph: Any) -> None:
    """Name each node after the module that it comes from and its operator, in place, for quantize.py."""
    taken: Counter[str] = Counter()
    for node in graph.node:
        name = f"{_module_of(node)}/{node.op_type}"
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"


def _module_of(node: Any) -> str:
    """The module in whose forward pass a node was made, from the exporter's notes."""
    if node.op_type == "Conv" and node.input[1].endswith(".weight"):
        # A batch norm was folded into it, and the note is of the norm.
        return str(node.input[1]).removeprefix("model.").removesuffix(".weight")
    notes = {note.key: note.value for note in node.metadata_props}
    scopes = ast.literal_eval(notes.get("pkg.torch.onnx.name_scopes", "[]"))
    return str(
        max((scope for scope in scopes[:-1] if scope.startswith("model.")), key=len, default="")
    ).removeprefix("model.")


def _strip(graph: Any) -> None:
    """Remove stack traces (they hold absolute paths) and notes of the exporter, in place."""
    for part in (
        graph,
        *graph.node,
        *graph.value_info,
        *graph.input,
        *graph.output,
        *getattr(graph, "initializer", ()),
    ):
        part.doc_string = ""
        del part.metadata_props[:]


def _metadata(spec: ModelSpec) -> dict[str, str]:
    return {
        MARK: ONNX_FORMAT,
        "espalier.architecture": spec.architecture.name,
        "espalier.weights": spec.digest,
        "espalier.ancestors": json.dumps(spec.ancestors, sort_keys=True),
        "task": json.dumps(spec.task, sort_keys=True, ensure_ascii=False),
        "mean": json.dumps(spec.preprocessing.mean),
        "std": json.dumps(spec.preprocessing.std),
    }
