"""What a model is exported to beside model.onnx: fp16 and bf16 for GPUs, `.pt2` for users of torch.

Each is checked on real images, in the nearest thing to its own runtime that a CPU has.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from pipeline.data.prepared.reader import Split
from pipeline.export.onnx import export_onnx, export_torch
from pipeline.export.outputs import batches, concatenated, torch_outputs
from pipeline.export.params import Format
from pipeline.export.parity import Parity, parity
from pipeline.export.session import InputPixels, OnnxModel
from pipeline.models.description.spec import ModelSpec
from pipeline.tasks.judging.arrays import Outputs
from pipeline.tasks.judging.examiner import Examiner

FORMAT_FILES: dict[Format, str] = {"fp16": "model.fp16.onnx", "bf16": "model.bf16.onnx", "pt2": "model.pt2"}
RUN_BY: dict[Format, str] = {
    "fp16": "onnxruntime on the CPU",
    "bf16": "ONNX's reference evaluator: onnxruntime has no bf16 convolution on CPUs",
    "pt2": "the program itself: none is ever loaded",
}
REFERENCE_IMAGES = 8
"""Images for the reference evaluator, which is numpy: 4 of a small MobileNetV2 take 3 s."""
CHECKED_BATCH_SIZE = 64
Answer = Callable[[InputPixels], Outputs]


def export_as(
    kind: Format,
    spec: ModelSpec,
    model: nn.Module,
    folder: Path,
    test: Split,
    rows: Tensor,
    examiner: Examiner,
) -> Parity:
    """Write the file of a format into `folder`; its parity with the torch model on rows of the test split.

    Raises CompressionError if the model cannot be exported.
    """
    if kind == "bf16":
        rows = rows[:REFERENCE_IMAGES]
    answer = EXPORTERS[kind](spec, model, folder / FORMAT_FILES[kind])
    floats = torch_outputs(model, spec, test, rows, CHECKED_BATCH_SIZE)
    found = concatenated([answer(images) for images in batches(test, rows, CHECKED_BATCH_SIZE)])
    return parity(floats, found, examiner, against="the torch model", run_by=RUN_BY[kind])


def _export_fp16(spec: ModelSpec, model: nn.Module, path: Path) -> Answer:
    export_onnx(spec, model, path, torch.float16)
    return OnnxModel(path, threads=1).answer


def _export_bf16(spec: ModelSpec, model: nn.Module, path: Path) -> Answer:
    export_onnx(spec, model, path, torch.bfloat16)
    evaluator = ReferenceEvaluator(str(path))

    def answer(images: InputPixels) -> Outputs:
        found: Any = evaluator.run(None, {name: images.astype(np.float32) for name in spec.inputs})
        return dict(zip(spec.outputs, found, strict=True))

    return answer


def _export_pt2(spec: ModelSpec, model: nn.Module, path: Path) -> Answer:
    program = export_torch(spec, model, path)

    def answer(images: InputPixels) -> Outputs:
        with torch.no_grad():
            found = program(torch.from_numpy(images).float())
        tensors = found if isinstance(found, tuple) else (found,)
        return {name: tensor.numpy() for name, tensor in zip(spec.outputs, tensors, strict=True)}

    return answer


EXPORTERS: dict[Format, Callable[[ModelSpec, nn.Module, Path], Answer]] = {
    "fp16": _export_fp16,
    "bf16": _export_bf16,
    "pt2": _export_pt2,
}
