"""All variants beside each other: how long their files take, and what each step of compression lost.

Letters: N samples, C channels, H height, W width.
"""

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.base.files import atomic_dir, csv_text, sha256_file, to_json, write_atomic
from pipeline.base.records import SEAL_NAME, Sealed, read_json, write_seal
from pipeline.compare.change import Pair
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
from pipeline.data.fields.field import PIXELS
from pipeline.data.fields.image import Pixels
from pipeline.data.prepared.manifest import MANIFEST, Manifest, read_manifest
from pipeline.data.prepared.shards import gather_rows, map_shards, read_slices
from pipeline.drawing import draw_images, drawable
from pipeline.errors import ArtifactError
from pipeline.evaluate.params import EvaluateParams
from pipeline.models.description.spec import ONNX_NAME
from pipeline.tasks.description.params import TaskParams
from pipeline.tasks.judging.arrays import Bools, Floats, Ints
from pipeline.tasks.judging.examiner import Examiner, make_examiner


@dataclass(frozen=True)
class Evaluated:
    """What `evaluate` left of one variant: the exported file, and its report with the seal over it."""

    onnx: Path
    scores: Path
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
                changes = {"score_change": found.score.change, "agreement": found.agreement}
                if found.worst_group:
                    changes["worst_group_change"] = found.worst_group.change
                values |= {f"{name}/against_{other}/{key}": value for key, value in changes.items()}
        return values


def compare(
    variants: dict[str, Evaluated], data: Path, outs: ComparisonOuts, params: EvaluateParams, task: TaskParams
) -> Compared:
    """Time every file, hold every variant against its parent and against dense, write every out.

    Everything but latency.json and the seal is the same in every run. Everything is computed before the first
    out is written. Raises ArtifactError if a report is missing, damaged, malformed, or of another file or
    other data; DataError for unusable data.
    """
    test = _Test.open(data, params, task)
    files = {name: _verified(name, each, test.folder) for name, each in variants.items()}
    scored = {name: _Scored.read(each, test) for name, each in variants.items()}
    steps = {name: [_Step(test, name, other, scored) for other in references(name)] for name in STEPS}
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
    """The SHA-256 of the exported file, once it and its report are as `evaluate` left them."""
    export = Sealed(variant.onnx.parent / SEAL_NAME, f"evaluate@{name}")
    digest = sha256_file(export.file(ONNX_NAME))
    report = Sealed(variant.seal, f"evaluate@{name}")
    report.demand_of(ONNX_NAME, digest, variant.onnx)
    report.demand_of(MANIFEST, sha256_file(data / MANIFEST), data / MANIFEST)
    for path in (variant.scores, variant.metrics):
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
    """The test split. truths: the right answers (N,), in words. groups, slices: masks (N,)."""

    folder: Path
    manifest: Manifest
    shards: list[Pixels]
    examiner: Examiner
    truths: list[str]
    groups: dict[str, Bools]
    slices: dict[str, Bools]

    @classmethod
    def open(cls, folder: Path, params: EvaluateParams, task: TaskParams) -> "_Test":
        columns, manifest = map_shards(folder, "test"), read_manifest(folder)
        shards = columns.pop(PIXELS)
        targets = {name: np.concatenate(parts) for name, parts in columns.items()}
        examiner = make_examiner(task.notes(manifest))
        truths, groups = examiner.truths(targets), examiner.groups(targets)
        slices = values(read_slices(folder, "test")) | quarters(shards, params.slices)
        return cls(folder, manifest, shards, examiner, truths, groups, slices)

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W of an image."""
        image = self.manifest.image
        return image.channels, image.height, image.width

    def images(self, rows: Ints) -> Pixels:
        """Pixels (rows, C, H, W)."""
        channels, height, width = self.shape
        return (
            gather_rows(self.shards, rows).reshape(len(rows), height, width, channels).transpose(0, 3, 1, 2)
        )


@dataclass(frozen=True)
class _Scored:
    """One variant's figures, and its answers in words (N,) with their scores (N,) and confidence (N,)."""

    quality: Quality
    answers: list[str]
    scores: Floats
    confidence: Floats

    @classmethod
    def read(cls, variant: Evaluated, test: _Test) -> "_Scored":
        try:
            with variant.scores.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            truths, answers = ([row[name] for row in rows] for name in ("truth", "answer"))
            scores, sure = (np.array([float(row[name]) for row in rows]) for name in ("score", "confidence"))
        except (KeyError, ValueError, TypeError, csv.Error) as error:
            raise ArtifactError(
                f"{variant.scores}: not scores of answers ({error}); run `dvc repro`"
            ) from error
        if truths != test.truths:
            raise ArtifactError(
                f"{variant.scores}: answers to other images than those of {test.folder}; run `dvc repro`"
            )
        return cls(read_json(variant.metrics, Quality), answers, scores, sure)


@dataclass(frozen=True, eq=False)
class _Step:
    """One variant against another."""

    test: _Test
    name: str
    other: str
    scored: dict[str, _Scored]

    @cached_property
    def pair(self) -> Pair:
        before, now = self.scored[self.other], self.scored[self.name]
        return Pair(before.scores, now.scores, self.test.examiner.same(before.answers, now.answers))

    @property
    def groups(self) -> list[NamedChange]:
        return self.pair.changes(self.test.groups)

    @property
    def slices(self) -> list[NamedChange]:
        return self.pair.changes(self.test.slices)

    @property
    def comparison(self) -> Comparison:
        pair, before, now = self.pair, self.scored[self.other].quality, self.scored[self.name].quality
        return Comparison(
            score=pair.change(),
            agreement=pair.agreement,
            lost=int(pair.lost.sum()),
            gained=int(pair.gained.sum()),
            swapped=int(pair.swapped.sum()),
            worst_group=next(iter(self.groups), None),
            worst_slice=next(iter(self.slices), None),
            macs_ratio=now.macs / before.macs,
            params_ratio=now.params / before.params,
            size_ratio=now.size_bytes / before.size_bytes,
        )

    def table(self) -> str:
        """The change of all images, of each group and of each slice, the greatest losses first."""
        rows: list[tuple[str, str, Change]] = [("all", "", self.pair.change())]
        rows += [("group", each.name, each) for each in self.groups]
        rows += [("slice", each.name, each) for each in self.slices]
        columns = list(Change.model_fields)
        return csv_text(
            ["of", "name", *columns],
            [[kind, name, *(getattr(x, column) for column in columns)] for kind, name, x in rows],
        )

    def picture(self, most: int) -> bytes:
        """Images whose answer changed: what was lost first, then what is wrong in another way, then what was
        gained; of each the surest first.
        """
        pair, sure_N = self.pair, self.scored[self.name].confidence
        kinds = [np.flatnonzero(kind) for kind in (pair.lost, pair.swapped, pair.gained)]
        lost, swapped, gained = (len(rows) for rows in kinds)
        rows = np.concatenate([kind[np.argsort(-sure_N[kind], kind="stable")] for kind in kinds])[:most]
        title = (
            f"{self.name} against {self.other}\n{lost} lost, {swapped} wrong in another way, {gained} gained"
        )
        return draw_images(title, self.test.images(rows), [self._caption(row) for row in rows.tolist()])

    def _caption(self, row: int) -> str:
        numbers = {name: number for number, name in enumerate(self.test.groups)}
        was, now, truth = (
            drawable(words[row], numbers.get(words[row], row))
            for words in (self.scored[self.other].answers, self.scored[self.name].answers, self.test.truths)
        )
        return f"{was} → {now}\nis {truth}"
