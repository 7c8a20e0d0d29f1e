"""All variants beside each other: how long their files take, and what each step of compression lost.

Letters: N samples, C channels, H height, W width.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.compare.change import Bools, Pair, by_class
from pipeline.compare.latency import measure_latency
from pipeline.compare.records import (
    LOSS_NAME,
    STEPS,
    VARIANTS,
    Change,
    Comparison,
    Latency,
    Loss,
    NamedChange,
    Quality,
    references,
)
from pipeline.compare.slices import quarters, values
from pipeline.data.prepared.manifest import MANIFEST, Manifest, read_manifest
from pipeline.data.prepared.shards import Pixels, gather_rows, map_shards, read_slices
from pipeline.drawing import drawable
from pipeline.errors import ArtifactError
from pipeline.evaluate.metrics import Floats, Ints
from pipeline.evaluate.params import EvaluateParams
from pipeline.evaluate.pictures import draw_images
from pipeline.files import atomic_dir, csv_text, sha256_file, to_json, write_atomic
from pipeline.models.description.spec import ONNX_NAME
from pipeline.records import SEAL_NAME, Sealed, read_json, write_seal


@dataclass(frozen=True)
class Evaluated:
    """What `evaluate` left of one variant: the exported file, and its report with the seal over it."""

    onnx: Path
    answers: Path
    metrics: Path
    seal: Path


@dataclass(frozen=True)
class ComparisonOuts:
    """Where a comparison goes, by variant: latency.json of all, the folder `lost` of those that a step made.

    seal: over all of them.
    """

    latency: dict[str, Path]
    lost: dict[str, Path]
    seal: Path


@dataclass(frozen=True)
class Compared:
    """What was found, by variant."""

    latency: dict[str, Latency]
    loss: dict[str, Loss]

    def reported(self) -> dict[str, float]:
        """What a person compares between runs, for a reporter."""
        values: dict[str, float] = {}
        for name, loss in self.loss.items():
            for other, found in loss.against.items():
                changes = {"top1_change": found.top1.change, "worst_class_change": found.worst_class.change}
                changes |= {"ece_change": found.ece_change, "agreement": found.agreement}
                values |= {f"{name}/against_{other}/{key}": value for key, value in changes.items()}
        return values


def compare(
    variants: dict[str, Evaluated], data: Path, outs: ComparisonOuts, params: EvaluateParams
) -> Compared:
    """Time every file, hold every variant against its parent and against dense, write every out.

    Everything but latency.json and the seal is the same in every run. Everything is computed before the first
    out is written. Raises ArtifactError if a report is missing, damaged, malformed, or of another file or
    other data; DataError for unusable data.
    """
    test = _Test.open(data, params)
    files = {name: _verified(name, each, test.folder) for name, each in variants.items()}
    answered = {name: _Answered.read(each, test) for name, each in variants.items()}
    steps = {name: [_Step(test, name, other, answered) for other in references(name)] for name in STEPS}
    loss = {
        name: Loss(parent=STEPS[name], against={each.other: each.comparison for each in steps[name]})
        for name in STEPS
    }
    pictures = {
        step: step.picture(params.worst_images) for of_variant in steps.values() for step in of_variant
    }
    latency = measure_latency({name: variants[name].onnx for name in VARIANTS}, params.latency)
    for name, path in outs.latency.items():
        write_atomic(path, to_json(latency[name].model_dump()))
    for name, folder in outs.lost.items():
        with atomic_dir(folder) as partial:
            (partial / LOSS_NAME).write_text(to_json(loss[name].model_dump()), encoding="utf-8")
            for step in steps[name]:
                (partial / f"against_{step.other}.csv").write_text(step.table(), encoding="utf-8")
                (partial / f"against_{step.other}.png").write_bytes(pictures[step])
    _seal(outs, files)
    return Compared(latency, loss)


def _verified(name: str, variant: Evaluated, data: Path) -> str:
    """The SHA-256 of the exported file, once it and its report are known to be as `evaluate` left them, and
    of each other.
    """
    export = Sealed(variant.onnx.parent / SEAL_NAME, f"evaluate@{name}")
    digest = sha256_file(export.file(ONNX_NAME))
    report = Sealed(variant.seal, f"evaluate@{name}")
    report.demand_of(ONNX_NAME, digest, variant.onnx)
    report.demand_of(MANIFEST, sha256_file(data / MANIFEST), data / MANIFEST)
    for path in (variant.answers, variant.metrics):
        report.file(path.name)
    return digest


def _seal(outs: ComparisonOuts, files: dict[str, str]) -> None:
    root = outs.seal.parent
    written = [
        *outs.latency.values(),
        *(path for folder in outs.lost.values() for path in sorted(folder.iterdir())),
    ]
    write_seal(root, [path.relative_to(root).as_posix() for path in written], files)


@dataclass(frozen=True)
class _Test:
    """The test split. actual: class numbers (N,). slices: masks (N,)."""

    folder: Path
    manifest: Manifest
    shards: list[Pixels]
    actual: Ints
    slices: dict[str, Bools]

    @classmethod
    def open(cls, folder: Path, params: EvaluateParams) -> "_Test":
        shards, actual_N = map_shards(folder, "test")
        masks = values(read_slices(folder, "test")) | quarters(shards, params.slices)
        return cls(folder, read_manifest(folder), shards, actual_N, masks)

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W of an image."""
        return self.manifest.channels, self.manifest.height, self.manifest.width

    def images(self, rows: Ints) -> Pixels:
        """Pixels (rows, C, H, W)."""
        channels, height, width = self.shape
        return (
            gather_rows(self.shards, rows).reshape(len(rows), height, width, channels).transpose(0, 3, 1, 2)
        )


@dataclass(frozen=True)
class _Answered:
    """One variant's figures, and its answers as class numbers (N,) with their confidence (N,)."""

    quality: Quality
    predicted: Ints
    confidence: Floats

    @classmethod
    def read(cls, variant: Evaluated, test: _Test) -> "_Answered":
        rows = _rows(variant.answers, test)
        if [actual for actual, _, _ in rows] != test.actual.tolist():
            raise ArtifactError(
                f"{variant.answers}: answers to other images than those of {test.folder}; run `dvc repro`"
            )
        predicted_N = np.array([predicted for _, predicted, _ in rows], np.int64)
        return cls(read_json(variant.metrics, Quality), predicted_N, np.array([sure for _, _, sure in rows]))


def _rows(path: Path, test: _Test) -> list[tuple[int, int, float]]:
    """Rows of answers.csv: actual and predicted class by number, and the confidence."""
    numbers = {name: number for number, name in enumerate(test.manifest.classes)}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            return [
                (numbers[row["actual"]], numbers[row["predicted"]], float(row["confidence"])) for row in table
            ]
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise ArtifactError(
            f"{path}: not answers in classes of {test.folder} ({error}); run `dvc repro`"
        ) from error


@dataclass(frozen=True, eq=False)
class _Step:
    """One variant against another."""

    test: _Test
    name: str
    other: str
    answered: dict[str, _Answered]

    @property
    def pair(self) -> Pair:
        return Pair(self.test.actual, self.answered[self.other].predicted, self.answered[self.name].predicted)

    @property
    def classes(self) -> list[NamedChange]:
        return self.pair.changes(by_class(self.test.actual, self.test.manifest.classes))

    @property
    def slices(self) -> list[NamedChange]:
        return self.pair.changes(self.test.slices)

    @property
    def comparison(self) -> Comparison:
        pair, before, now = self.pair, self.answered[self.other].quality, self.answered[self.name].quality
        return Comparison(
            top1=pair.change(),
            agreement=pair.agreement,
            lost=int(pair.lost.sum()),
            gained=int(pair.gained.sum()),
            swapped=int(pair.swapped.sum()),
            worst_class=self.classes[0],
            worst_slice=next(iter(self.slices), None),
            ece_change=now.ece - before.ece,
            macs_ratio=now.macs / before.macs,
            params_ratio=now.params / before.params,
            size_ratio=now.size_bytes / before.size_bytes,
        )

    def table(self) -> str:
        """The change of all images, of each class and of each slice, the greatest losses first."""
        rows: list[tuple[str, str, Change]] = [("all", "", self.pair.change())]
        rows += [("class", each.name, each) for each in self.classes] + [
            ("slice", each.name, each) for each in self.slices
        ]
        columns = list(Change.model_fields)
        return csv_text(
            ["of", "name", *columns],
            [[kind, name, *(getattr(x, column) for column in columns)] for kind, name, x in rows],
        )

    def picture(self, most: int) -> bytes:
        """Images whose answer changed: what was lost first, then what is wrong in another way, then what was
        gained.
        """
        pair, sure_N = self.pair, self.answered[self.name].confidence
        kinds = [np.flatnonzero(kind) for kind in (pair.lost, pair.swapped, pair.gained)]
        lost, swapped, gained = (len(rows) for rows in kinds)
        rows = np.concatenate([kind[np.argsort(-sure_N[kind], kind="stable")] for kind in kinds])[:most]
        title = (
            f"{self.name} against {self.other}\n{lost} lost, {swapped} wrong in another way, {gained} gained"
        )
        return draw_images(title, self.test.images(rows), [self._caption(row) for row in rows.tolist()])

    def _caption(self, row: int) -> str:
        names, pair = self.test.manifest.classes, self.pair
        was, now, actual = (
            drawable(names[labels[row]], labels[row]) for labels in (pair.before, pair.now, pair.actual)
        )
        return f"{was} → {now}\nis {actual}"
