"""Static int8 quantization for CPUs: weights and activations, calibrated on training images.

Format QDQ, signed weights with unsigned activations: signed activations are 5 to 6 times slower in
onnxruntime on x86. Weights use all 8 bits (no `reduce_range`): with VNNI (AVX-512 or AVX) 8-bit
products do not saturate; on an x86 without VNNI they can, and accuracy should be checked there.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor

from pipeline.compress.export import INPUT_NAME, write_onnx
from pipeline.compress.params import QuantizeParams
from pipeline.compress.runtime import Logits, OnnxModel, Parity, batches, onnx_logits, parity
from pipeline.data.reader import Split
from pipeline.errors import CompressionError
from pipeline.models.artifact import read_spec, save_onnx
from pipeline.models.spec import ModelSpec

OPERATORS = ["Conv", "Gemm", "MatMul", "Relu", "Clip"]
"""What runs in int8. Relu and Clip vanish into the ranges; Add stays float: quantizing it changed ResNet-18 and
ResNet-20 by nothing and made MobileNetV2 at batch 64 slower (26 instead of 21 ms; fp32 65 ms; fastest of 36 runs,
2 threads of an AMD EPYC, onnxruntime 1.31)."""
METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
THREADS = 2
"""Of onnxruntime while validating; fixed, because a sum's order may follow it."""


@dataclass(frozen=True)
class QuantizeReport:
    """int8: the int8 file against the float file, on the validation split."""

    int8: Parity
    float_top1: float
    int8_top1: float
    float_bytes: int
    int8_bytes: int

    def metrics(self) -> dict[str, float]:
        """Flat numbers for reports/quantize.json."""
        return {
            "int8_max_diff": self.int8.max_diff,
            "int8_agreement": self.int8.agreement,
            "float_val_top1": self.float_top1,
            "val_top1": self.int8_top1,
            "float_size_bytes": self.float_bytes,
            "size_bytes": self.int8_bytes,
            "size_fraction": round(self.int8_bytes / self.float_bytes, 6),
        }


def quantize(finetuned: Path, floats: Path, data: Path, out: Path, params: QuantizeParams) -> QuantizeReport:
    """Quantize `floats`, the export of the artifact `finetuned`, and save the result as an ONNX artifact.

    The artifact's provenance holds the parity of the int8 file with the float one, because whoever
    evaluates it has no float parent at hand. Raises CompressionError where the file was exported from other
    weights or a class has no image to calibrate on.
    """
    spec = read_spec(finetuned)
    float_model = OnnxModel(floats, THREADS)
    if float_model.metadata["espalier.weights"] != spec.digest:
        raise CompressionError(
            f"{floats}: was exported from other weights than {finetuned} holds; run `dvc repro evaluate@finetuned`"
        )
    train, val = Split.open(data, "train"), Split.open(data, "val")
    chosen = calibration_indices(train.labels, spec.classes, params)
    everything = torch.arange(len(val))
    with tempfile.TemporaryDirectory(prefix="espalier-quantize-") as name:
        ints = Path(name) / "int8.onnx"
        quantize_file(floats, ints, spec, batches(train, chosen, params.batch_size), params)
        float_logits = onnx_logits(float_model, val, everything, params.batch_size)
        int8_logits = onnx_logits(OnnxModel(ints, THREADS), val, everything, params.batch_size)
        report = QuantizeReport(
            int8=parity(float_logits, int8_logits),
            float_top1=_top1(float_logits, val.labels),
            int8_top1=_top1(int8_logits, val.labels),
            float_bytes=floats.stat().st_size,
            int8_bytes=ints.stat().st_size,
        )
        save_onnx(out, _quantized_spec(spec, report.int8), ints)
    return report


def calibration_indices(labels_N: Tensor, classes: list[str], params: QuantizeParams) -> Tensor:
    """Rows of the training split to calibrate on, the same for the same seed, as evenly over the classes as they allow.

    Raises CompressionError where a class has no image, or would get none.
    """
    present = torch.bincount(labels_N, minlength=len(classes))
    missing = [name for name, count in zip(classes, present.tolist(), strict=True) if not count]
    if missing:
        raise CompressionError(f"quantize: class {missing[0]!r} has no training image to calibrate on; prepare with some")
    if params.calibration_images < len(classes):
        raise CompressionError(
            f"quantize.calibration_images is {params.calibration_images}, but there are {len(classes)} classes; "
            f"raise it to {len(classes)} or more"
        )
    shuffled = torch.randperm(len(labels_N), generator=torch.Generator().manual_seed(params.seed))
    by_class = [shuffled[labels_N[shuffled] == label] for label in range(len(classes))]
    # First one image of each class, then a second one of each, and so on.
    rounds = torch.cat([torch.arange(len(rows)) for rows in by_class])
    order = torch.argsort(rounds, stable=True)
    return torch.cat(by_class)[order[: params.calibration_images]]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands images to onnxruntime's calibration one batch at a time."""

    def __init__(self, images: Iterator[npt.NDArray[np.uint8]]) -> None:
        self._images = images

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        images = next(self._images, None)
        return None if images is None else {INPUT_NAME: np.ascontiguousarray(images, dtype=np.float32)}


def quantize_file(
    floats: Path, ints: Path, spec: ModelSpec, images: Iterator[npt.NDArray[np.uint8]], params: QuantizeParams
) -> None:
    prepared = ints.with_name("prepared.onnx")
    quant_pre_process(floats, prepared, skip_symbolic_shape=True)  # the exporter has inferred the shapes
    quantize_static(
        prepared,
        ints,
        _Reader(images),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=OPERATORS,
        per_channel=params.per_channel,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=METHODS[params.calibration],
    )
    proto: Any = onnx.load(ints)
    write_onnx(proto, spec, ints)


def _quantized_spec(spec: ModelSpec, agreement: Parity) -> ModelSpec:
    measured = {"int8_max_diff": agreement.max_diff, "int8_agreement": agreement.agreement, "int8_images": agreement.images}
    return spec.model_copy(
        update={"ancestors": spec.ancestors | {"finetuned": spec.digest}, "provenance": spec.provenance | measured}
    )


def _top1(logits_NK: Logits, labels_N: Tensor) -> float:
    return float((logits_NK.argmax(axis=1) == labels_N.numpy()).mean())
