"""A file with cheaper products for CPUs, which loses no more of its score than allowed.

Weights use all 8 bits unless `reduce_range`: with VNNI (AVX-512 or AVX) 8-bit products do not saturate.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.data.prepared.reader import Split
from pipeline.errors import CompressionError
from pipeline.export.outputs import batches, onnx_outputs
from pipeline.export.parity import PARITY_NAME, Parities, Parity, parity
from pipeline.export.session import Numbers, OnnxModel
from pipeline.models.description.spec import ONNX_NAME
from pipeline.models.disk.artifact import exported_onnx, read_spec, save_onnx
from pipeline.quantize.instructions import check_int8
from pipeline.quantize.params import QuantizeParams
from pipeline.quantize.quantizers import Quantizer, open_quantizer
from pipeline.quantize.sensitivity import Effect, ExportedLayer, fewest, scan
from pipeline.tasks.description.params import notes_of
from pipeline.tasks.judging.arrays import Bools, Outputs
from pipeline.tasks.judging.examiner import make_examiner

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
    float_score: float
    int8_score: float
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
            "float_val_score": self.float_score,
            "val_score": self.int8_score,
            "float_size_bytes": self.float_bytes,
            "size_bytes": self.int8_bytes,
            "size_fraction": round(self.int8_bytes / self.float_bytes, 6),
            "learned_ranges": self.learned_ranges,
            "float_layers": len(self.left_in_float),
            "float_macs_fraction": round(self.float_macs_fraction, 6),
        }

    def record(self) -> dict[str, object]:
        """reports/quantize.json: the metrics, layers by their modules' names, and a warning."""
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

    If that loses more than `params.max_drop`, the layers that cost most stay in float. parity.json beside the
    file says how far it is from the float one, because whoever evaluates it has no float parent at hand.
    Raises CompressionError if the CPU lacks int8, a group has no image to calibrate on or nothing can be
    quantized; ArtifactError if the file is damaged or was exported from another model.
    """
    check_int8(params)
    spec = read_spec(finetuned)
    float_model = OnnxModel(exported_onnx(floats.parent, finetuned, "evaluate@finetuned"), THREADS)
    train, val = Split.open(data, "train"), Split.open(data, "val")
    examiner = make_examiner(notes_of(spec.task))
    groups = examiner.groups(train.target_arrays)
    chosen = calibration_rows(groups, len(train), params)

    def score(outputs: Outputs) -> float:
        return float(examiner.score(outputs, val.target_arrays).mean())

    with tempfile.TemporaryDirectory(prefix="espalier-quantize-") as name:
        quantizer = open_quantizer(
            floats, Path(name), spec, batches(train, chosen, params.batch_size), params
        )
        trial = Trial(quantizer, float_model, Path(name) / "int8.onnx", params)
        given = trial.floats(val)
        effects, left = trial.fewest_floats(train, chosen, val, score(given), score)
        rounded = trial.ints(val, left)
        report = QuantizeReport(
            int8=parity(given, rounded, examiner, against="the float export, when quantized"),
            float_score=score(given),
            int8_score=score(rounded),
            float_bytes=floats.stat().st_size,
            int8_bytes=trial.file.stat().st_size,
            float_macs_fraction=quantizer.float_macs_fraction(left),
            learned_ranges=len(quantizer.learned),
            left_in_float=left,
            scan=effects,
        )
        quantized = spec.model_copy(update={"ancestors": spec.ancestors | {"finetuned": spec.digest}})
        record = Parities(files={ONNX_NAME: report.int8}).to_json()
        save_onnx(out, quantized, trial.file, {PARITY_NAME: record})
    return report


@dataclass(frozen=True)
class Trial:
    """Quantized files, one after the other at `file`, and what they answer beside the float model."""

    quantizer: Quantizer
    float_model: OnnxModel
    file: Path
    params: QuantizeParams

    def fewest_floats(
        self, train: Split, chosen: Tensor, val: Split, float_score: float, score: Callable[[Outputs], float]
    ) -> tuple[list[Effect], list[ExportedLayer]]:
        """The effects of all layers, and those to leave in float; both empty if at most max_drop is lost.

        Layers are ranked on the calibration images: the validation split judges the file, and does not rank
        layers as well.
        """
        worst = float_score - self.params.max_drop - ROUNDING

        def holds(left: Sequence[ExportedLayer]) -> bool:
            return score(self.ints(val, left)) >= worst

        if holds([]):
            return [], []
        effects = scan(
            self.quantizer.layers,
            lambda left: _joined(self.ints(train, left, chosen)),
            _joined(self.floats(train, chosen)),
        )
        return effects, fewest([effect.layer for effect in effects], holds)

    def floats(self, split: Split, rows: Tensor | None = None) -> Outputs:
        return self._answers(self.float_model, split, rows)

    def ints(self, split: Split, left: Sequence[ExportedLayer], rows: Tensor | None = None) -> Outputs:
        """Answers of the file with the layers `left` in float, which is then at `file`."""
        self.quantizer.write(self.file, left)
        return self._answers(OnnxModel(self.file, THREADS), split, rows)

    def _answers(self, model: OnnxModel, split: Split, rows: Tensor | None) -> Outputs:
        return onnx_outputs(
            model, split, torch.arange(len(split)) if rows is None else rows, self.params.batch_size
        )


def calibration_rows(groups: dict[str, Bools], num_rows: int, params: QuantizeParams) -> Tensor:
    """Rows of the training split to calibrate on, the same for the same seed, as evenly over the groups as
    they allow.

    groups: masks (num_rows,); without any, rows are drawn from all. Raises CompressionError if a group has no
    image, or would get none.
    """
    missing = [name for name, rows in groups.items() if not rows.any()]
    if missing:
        raise CompressionError(
            f"quantize: {missing[0]!r} has no training image to calibrate on; prepare with some"
        )
    if params.calibration_images < len(groups):
        raise CompressionError(
            f"quantize.calibration_images is {params.calibration_images}, but there are {len(groups)} groups "
            f"(classes) of images; raise it to {len(groups)} or more"
        )
    shuffled = torch.randperm(num_rows, generator=torch.Generator().manual_seed(params.seed))
    masks = [torch.from_numpy(rows) for rows in groups.values()] or [torch.ones(num_rows, dtype=torch.bool)]
    by_group = [shuffled[mask[shuffled]] for mask in masks]
    # First one image of each group, then a second one of each, and so on; one of several groups counts once.
    rounds = torch.cat([torch.arange(len(rows)) for rows in by_group])
    order = torch.cat(by_group)[torch.argsort(rounds, stable=True)]
    return torch.tensor(list(dict.fromkeys(order.tolist()))[: params.calibration_images])


def _joined(outputs: Outputs) -> Numbers:
    """All that a network gave, (N, numbers)."""
    return np.concatenate([value.reshape(len(value), -1) for value in outputs.values()], axis=1)
