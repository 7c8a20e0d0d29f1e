"""A file with cheaper products for CPUs, which loses no more top-1 than allowed.

Weights use all 8 bits unless `reduce_range`: with VNNI (AVX-512 or AVX) 8-bit products do not saturate.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipeline.data.prepared.reader import Split
from pipeline.errors import CompressionError
from pipeline.export.parity import Parity, batches, onnx_logits, parity
from pipeline.export.session import Logits, OnnxModel
from pipeline.models.description.spec import ModelSpec
from pipeline.models.disk.artifact import exported_onnx, read_spec, save_onnx
from pipeline.quantize.instructions import check_int8
from pipeline.quantize.params import QuantizeParams
from pipeline.quantize.quantizers import Quantizer, open_quantizer
from pipeline.quantize.sensitivity import Effect, ExportedLayer, fewest, scan

THREADS = 2
"""Threads of onnxruntime while validating; fixed, because a sum's order may follow it."""
ROUNDING = 1e-9
"""0.8 - 0.1 is 0.7000000000000001."""
MOSTLY_FLOAT = 0.5
"""Share of the MACs in float beyond which the report says that quantization is little use here."""


@dataclass(frozen=True)
class QuantizeReport:
    """int8: the quantized file against the float file, on the validation split.

    float_macs_fraction: of all convolutions and matrix products, also those that the mode cannot quantize.
    learned_ranges: activations whose range training learned. left_in_float: layers for which the accuracy
    gate asked. scan: the effect of each layer, the worst first, if the gate made it necessary.
    """

    int8: Parity
    float_top1: float
    int8_top1: float
    float_bytes: int
    int8_bytes: int
    float_macs_fraction: float
    learned_ranges: int
    left_in_float: list[ExportedLayer]
    scan: list[Effect]

    def metrics(self) -> dict[str, float]:
        return {
            "int8_max_diff": self.int8.max_diff,
            "int8_agreement": self.int8.agreement,
            "float_val_top1": self.float_top1,
            "val_top1": self.int8_top1,
            "float_size_bytes": self.float_bytes,
            "size_bytes": self.int8_bytes,
            "size_fraction": round(self.int8_bytes / self.float_bytes, 6),
            "learned_ranges": self.learned_ranges,
            "float_layers": len(self.left_in_float),
            "float_macs_fraction": round(self.float_macs_fraction, 6),
        }

    def record(self) -> dict[str, object]:
        """reports/quantize.json: the metrics, the layers by the names of their modules, and what a reader
        must not miss.
        """
        scanned = [{"layer": effect.layer.module, "noise": round(effect.noise, 9)} for effect in self.scan]
        mostly = f"{self.float_macs_fraction:.0%} of the MACs stay float: expect little speed"
        note = {"note": mostly} if self.float_macs_fraction > MOSTLY_FLOAT else {}
        return {
            **self.metrics(),
            "left_in_float": [layer.module for layer in self.left_in_float],
            "scan": scanned,
            **note,
        }


def quantize(finetuned: Path, floats: Path, data: Path, out: Path, params: QuantizeParams) -> QuantizeReport:
    """Quantize `floats`, the export of the artifact `finetuned`, and save the result as an ONNX artifact.

    If that loses more than `params.max_drop`, the layers that cost most stay in float. The artifact's
    provenance holds the parity of the quantized file with the float one, because whoever evaluates it has no
    float parent at hand. Raises CompressionError if the CPU lacks int8, a class has no image to calibrate on
    or nothing can be quantized; ArtifactError if the file is damaged or was exported from another model.
    """
    check_int8(params)
    spec = read_spec(finetuned)
    float_model = OnnxModel(exported_onnx(floats.parent, finetuned, "evaluate@finetuned"), THREADS)
    train, val = Split.open(data, "train"), Split.open(data, "val")
    chosen = calibration_indices(train.labels, spec.classes, params)
    with tempfile.TemporaryDirectory(prefix="espalier-quantize-") as name:
        quantizer = open_quantizer(
            floats, Path(name), spec, batches(train, chosen, params.batch_size), params
        )
        trial = Trial(quantizer, float_model, Path(name) / "int8.onnx", params)
        float_logits = trial.floats(val)
        effects, left = trial.fewest_floats(train, chosen, val, _top1(float_logits, val.labels))
        int8_logits = trial.ints(val, left)
        report = QuantizeReport(
            int8=parity(float_logits, int8_logits),
            float_top1=_top1(float_logits, val.labels),
            int8_top1=_top1(int8_logits, val.labels),
            float_bytes=floats.stat().st_size,
            int8_bytes=trial.file.stat().st_size,
            float_macs_fraction=quantizer.float_macs_fraction(left),
            learned_ranges=len(quantizer.learned),
            left_in_float=left,
            scan=effects,
        )
        save_onnx(out, _quantized_spec(spec, report.int8), trial.file)
    return report


@dataclass(frozen=True)
class Trial:
    """Quantized files, one after the other at `file`, and what they answer beside the float model."""

    quantizer: Quantizer
    float_model: OnnxModel
    file: Path
    params: QuantizeParams

    def fewest_floats(
        self, train: Split, chosen: Tensor, val: Split, float_top1: float
    ) -> tuple[list[Effect], list[ExportedLayer]]:
        """The effects of all layers, and those to leave in float; both empty if no more than max_drop is lost
        anyway.

        Layers are ranked on the calibration images: the validation split judges the file, and does not rank
        layers as well.
        """
        worst = float_top1 - self.params.max_drop - ROUNDING

        def holds(left: Sequence[ExportedLayer]) -> bool:
            return _top1(self.ints(val, left), val.labels) >= worst

        if holds([]):
            return [], []
        effects = scan(
            self.quantizer.layers, lambda left: self.ints(train, left, chosen), self.floats(train, chosen)
        )
        return effects, fewest([effect.layer for effect in effects], holds)

    def floats(self, split: Split, rows: Tensor | None = None) -> Logits:
        return self._answers(self.float_model, split, rows)

    def ints(self, split: Split, left: Sequence[ExportedLayer], rows: Tensor | None = None) -> Logits:
        """Answers of the file with the layers `left` in float, which is then at `file`."""
        self.quantizer.write(self.file, left)
        return self._answers(OnnxModel(self.file, THREADS), split, rows)

    def _answers(self, model: OnnxModel, split: Split, rows: Tensor | None) -> Logits:
        return onnx_logits(
            model, split, torch.arange(len(split)) if rows is None else rows, self.params.batch_size
        )


def calibration_indices(labels_N: Tensor, classes: list[str], params: QuantizeParams) -> Tensor:
    """Rows of the training split to calibrate on, the same for the same seed, as evenly over the classes as
    they allow.

    Raises CompressionError if a class has no image, or would get none.
    """
    present = torch.bincount(labels_N, minlength=len(classes))
    missing = [name for name, count in zip(classes, present.tolist(), strict=True) if not count]
    if missing:
        raise CompressionError(
            f"quantize: class {missing[0]!r} has no training image to calibrate on; prepare with some"
        )
    if params.calibration_images < len(classes):
        raise CompressionError(
            f"quantize.calibration_images is {params.calibration_images}, but there are {len(classes)} "
            "classes; "
            f"raise it to {len(classes)} or more"
        )
    shuffled = torch.randperm(len(labels_N), generator=torch.Generator().manual_seed(params.seed))
    by_class = [shuffled[labels_N[shuffled] == label] for label in range(len(classes))]
    # First one image of each class, then a second one of each, and so on.
    rounds = torch.cat([torch.arange(len(rows)) for rows in by_class])
    order = torch.argsort(rounds, stable=True)
    return torch.cat(by_class)[order[: params.calibration_images]]


def _quantized_spec(spec: ModelSpec, agreement: Parity) -> ModelSpec:
    measured = {
        "int8_max_diff": agreement.max_diff,
        "int8_agreement": agreement.agreement,
        "int8_images": agreement.images,
    }
    return spec.model_copy(
        update={
            "ancestors": spec.ancestors | {"finetuned": spec.digest},
            "provenance": spec.provenance | measured,
        }
    )


def _top1(logits_NK: Logits, labels_N: Tensor) -> float:
    return float((logits_NK.argmax(axis=1) == labels_N.numpy()).mean())
