"""Three ways to make the products of an ONNX file cheaper, each with any layers left in float.

static: format QDQ, signed weights with unsigned activations: signed activations are 5 to 6 times slower in
onnxruntime on x86. Ranges of activations are those that training learned (train/methods), else found on
calibration images. dynamic: int8 weights, and activations whose range each input sets: linear layers alone,
since onnxruntime's dynamic convolutions are slower than its float ones. weight_only: 4-bit weights in blocks
of 32 that share a scale. ViT-tiny at 64 px on one busy thread of an AMD EPYC, in turns, against fp32 (n = 45
at batch 1, 15 at 16): dynamic 2.4 and 1.6 times as fast in 0.28 of the bytes, static 1.5 and 1.2 in 0.26,
weight_only 1.15 and 0.97 in 0.19.
"""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    create_calibrator,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.calibrate import TensorData, save_tensors_data
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.shape_inference import quant_pre_process

from pipeline.errors import CompressionError
from pipeline.export.onnx import write_onnx
from pipeline.models.description.spec import ModelSpec
from pipeline.quantize.params import QuantizeParams
from pipeline.quantize.sensitivity import ExportedLayer, exported_layers

PRODUCTS_OF_MODE = {"static": {"Conv", "Gemm", "MatMul"}, "dynamic": {"MatMul"}, "weight_only": {"MatMul"}}
STATIC_OPERATORS = ["Conv", "Gemm", "MatMul", "Relu", "Clip"]
"""Relu and Clip vanish into the ranges; Add stays float: quantizing it changed ResNet-18 and ResNet-20 by
nothing and made MobileNetV2 at batch 64 slower (26 instead of 21 ms; fp32 65 ms; fastest of 36 runs, 2
threads of an AMD EPYC, onnxruntime 1.31)."""
METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
}
WEIGHT_ONLY_BITS = 4
WEIGHT_ONLY_BLOCK = 32
Images = Iterator[npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Quantizer:
    """Writes quantized files of one float file.

    ranges: where those of all activations are; learned: those among them that training gave, by tensor.
    layers: those that the mode can quantize, and in `rest` the others.
    """

    prepared: Path
    ranges: Path
    learned: dict[str, list[float]]
    spec: ModelSpec
    params: QuantizeParams
    layers: list[ExportedLayer]
    rest: list[ExportedLayer]

    def write(self, out: Path, floats: Sequence[ExportedLayer]) -> None:
        """The file with some layers left in float."""
        names = sorted(name for layer in (*floats, *self.rest) for name in layer.nodes)
        WRITERS[self.params.mode](self, out, names)
        proto: Any = onnx.load(out)
        write_onnx(proto, self.spec, out)

    def float_macs_fraction(self, floats: Sequence[ExportedLayer]) -> float:
        """Share of the MACs that are not done in the mode's way."""
        total = sum(layer.macs for layer in (*self.layers, *self.rest))
        return sum(layer.macs for layer in (*floats, *self.rest)) / total


def open_quantizer(
    floats: Path, folder: Path, spec: ModelSpec, images: Images, params: QuantizeParams
) -> Quantizer:
    """Prepare a float file in `folder`, which must outlive the quantizer; images calibrate a static mode.

    Raises CompressionError if the network has nothing that the mode quantizes.
    """
    prepared, ranges = folder / "prepared.onnx", folder / "ranges.json"
    quant_pre_process(floats, prepared, skip_symbolic_shape=True)  # the exporter has inferred the shapes
    if params.mode != "static":
        _split_gemm(prepared)
    layers = exported_layers(onnx.load(prepared).graph)
    chosen = [layer for layer in layers if layer.operators <= PRODUCTS_OF_MODE[params.mode]]
    chosen = [layer for layer in chosen if layer.constant or params.mode == "static"]
    if not chosen:
        raise CompressionError(
            f"quantize.mode is {params.mode}, but the network has no layer that it can quantize; use static"
        )
    learned = _learned(spec, layers) if params.mode == "static" else {}
    if params.mode == "static":
        _calibrate(prepared, ranges, images, params, learned)
    rest = [layer for layer in layers if layer not in chosen]
    return Quantizer(prepared, ranges, learned, spec, params, chosen, rest)


def _split_gemm(prepared: Path) -> None:
    """Replace Gemm by MatMul and Add, the only form of a linear layer that these modes know, in place."""
    model: Any = onnx.load(prepared)
    del model.graph.value_info[:]  # weights are transposed, and the shapes noted here would contradict them
    ONNXModel(model).replace_gemm_with_matmul()
    onnx.save(onnx.shape_inference.infer_shapes(model), prepared)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands onnxruntime's calibration one batch: arrays by input name."""

    def __init__(self, batch: dict[str, npt.NDArray[np.float32]]) -> None:
        self._batches = iter([batch])

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self._batches, None)


def _learned(spec: ModelSpec, layers: Sequence[ExportedLayer]) -> dict[str, list[float]]:
    """Ranges that training has learned, by tensor."""
    tensors = {f"{layer.module}{side}": tensor for layer in layers for side, tensor in layer.sides.items()}
    return {tensors[key]: ends for key, ends in spec.ranges.items() if key in tensors}


def _calibrate(
    prepared: Path, ranges: Path, images: Images, params: QuantizeParams, learned: dict[str, list[float]]
) -> None:
    """Write the range of every activation: learned, or else found on the images."""
    name = onnx.load(prepared).graph.input[0].name
    augmented, method = prepared.with_name("augmented.onnx"), METHODS[params.calibration]
    calibrator = create_calibrator(prepared, STATIC_OPERATORS, str(augmented), method)
    with contextlib.redirect_stdout(io.StringIO()):  # onnxruntime's own counting
        # A call for each: percentile stacks what one call reads, and the last batch may be smaller.
        for batch in images:
            calibrator.collect_data(_Reader({name: np.ascontiguousarray(batch, dtype=np.float32)}))
        found = calibrator.compute_data()
    for tensor, (lowest, highest) in learned.items():
        found[tensor] = TensorData(lowest=np.float32(lowest), highest=np.float32(highest))
    save_tensors_data(found, ranges)


def _static(quantizer: Quantizer, out: Path, floats: list[str]) -> None:
    params = quantizer.params
    quantize_static(
        quantizer.prepared,
        out,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=STATIC_OPERATORS,
        nodes_to_exclude=floats,
        per_channel=params.per_channel,
        reduce_range=params.reduce_range,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=METHODS[params.calibration],
        calibration_cache_path=quantizer.ranges,
    )


def _dynamic(quantizer: Quantizer, out: Path, floats: list[str]) -> None:
    params = quantizer.params
    quantize_dynamic(
        quantizer.prepared,
        out,
        op_types_to_quantize=sorted(PRODUCTS_OF_MODE["dynamic"]),
        nodes_to_exclude=floats,
        per_channel=params.per_channel,
        reduce_range=params.reduce_range,
        weight_type=QuantType.QInt8,
    )


def _weight_only(quantizer: Quantizer, out: Path, floats: list[str]) -> None:
    logging.getLogger("onnxruntime.quantization").setLevel(logging.ERROR)  # two lines for every node
    # Sets up logging for all when imported.
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    model: Any = onnx.load(quantizer.prepared)
    found = MatMulNBitsQuantizer(model, WEIGHT_ONLY_BITS, WEIGHT_ONLY_BLOCK, nodes_to_exclude=floats)
    found.process()
    onnx.save(found.model.model, out)


WRITERS: dict[str, Callable[[Quantizer, Path, list[str]], None]] = {
    "static": _static,
    "dynamic": _dynamic,
    "weight_only": _weight_only,
}
