"""One variant on the test split, measured on the file that would be deployed."""

import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from pipeline.base.files import atomic_dir, csv_text, sha256_file, to_json, write_atomic
from pipeline.base.records import write_seal
from pipeline.data.prepared.batch import Tensors
from pipeline.data.prepared.manifest import MANIFEST, read_manifest
from pipeline.data.prepared.reader import Split
from pipeline.errors import ArtifactError, listed
from pipeline.evaluate.params import EvaluateParams
from pipeline.evaluate.views import views
from pipeline.export.formats import FORMAT_FILES, export_as
from pipeline.export.onnx import export_onnx
from pipeline.export.outputs import onnx_outputs, torch_outputs
from pipeline.export.parity import PARITY_NAME, Parities, parity, read_parities
from pipeline.export.session import InputPixels, OnnxModel
from pipeline.models.cost import count_macs, count_params
from pipeline.models.description.spec import ONNX_NAME, ModelSpec
from pipeline.models.disk.artifact import SPEC_NAME, onnx_path, read_spec
from pipeline.models.disk.weights import load_model
from pipeline.models.nets.build import example, rebuild
from pipeline.tasks.description.params import TaskNotes, TaskParams, notes_of
from pipeline.tasks.judging.arrays import FRACTION_DIGITS, Ints, Outputs, Targets
from pipeline.tasks.judging.examiner import Examiner, make_examiner
from pipeline.tasks.reports.report import make_report
from pipeline.tasks.training.task import Task, make_task

SCORES = ("row", "score", "answer", "truth", "confidence")
"""Columns of scores.csv, whatever the kind of problem."""
MOST_CHOICES = 5
"""Parts of an answer that an error message lists at most."""


@dataclass(frozen=True)
class EvaluationOuts:
    """Where an evaluation goes; exported, tables and pictures are folders, of which the kind of problem fills
    the last two.

    seal: over all but exported, which has its own.
    """

    exported: Path
    metrics: Path
    scores: Path
    tables: Path
    pictures: Path
    seal: Path


def evaluate(
    artifact: Path, data: Path, outs: EvaluationOuts, params: EvaluateParams, task: TaskParams
) -> dict[str, float]:
    """Export an artifact (an int8 one is a file already), measure it on the test split, write every out.

    Returns the metrics, as in metrics.json; they are the same in every run on the same machine.
    Everything is computed before the first out is written. Raises CompressionError if the model cannot
    be exported, ArtifactError and DataError if an input is unusable or they do not belong together.
    """
    spec = read_spec(artifact)
    notes = notes_of(spec.task)
    _check_choices(notes, artifact, task, data)
    test, examiner = Split.open(data, "test"), make_examiner(notes)
    report = make_report(notes, params.calibration_bins)
    with tempfile.TemporaryDirectory(prefix="espalier-evaluate-") as name:
        file = Path(name) / ONNX_NAME
        parities = _deploy(spec, artifact, file, test, params, examiner)
        model = OnnxModel(file, params.latency.threads)
        outputs = onnx_outputs(model, test, torch.arange(len(test)), params.batch_size)
        targets = test.target_arrays
        metrics = _task_metrics(make_task(task, notes), outputs, targets) | report.metrics(outputs, targets)
        metrics |= _tta(outputs, targets, model, test, params, examiner)
        metrics |= _parity_metrics(parities) | _cost(spec, file)
        pictures = report.pictures(outputs, targets, partial(_images, test), params.worst_images)
        texts = {outs.metrics: to_json(metrics), outs.scores: scores_csv(examiner, outputs, targets)}
        _write_export(outs.exported, artifact, file, parities)
        for path, text in texts.items():
            write_atomic(path, text)
        _write_folder(outs.tables, {n: x.encode() for n, x in report.tables(outputs, targets).items()})
        _write_folder(outs.pictures, pictures)
    _seal(outs, data)
    return metrics


def scores_csv(examiner: Examiner, outputs: Outputs, targets: Targets) -> str:
    """A row per test image, in the order of the split: all that comparing two variants needs."""
    columns = (
        examiner.score(outputs, targets).round(FRACTION_DIGITS).tolist(),
        examiner.answers(outputs),
        examiner.truths(targets),
        examiner.confidence(outputs).round(FRACTION_DIGITS).tolist(),
    )
    return csv_text(SCORES, zip(range(len(columns[0])), *columns, strict=True))


def _task_metrics(task: Task, outputs: Outputs, targets: Targets) -> dict[str, float]:
    sums = task.sums(_tensors(outputs), _tensors(targets))
    return task.metrics({name: float(value) for name, value in sums.items()})


def _tensors(arrays: Outputs | Targets) -> Tensors:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _images(test: Split, rows: Ints) -> InputPixels:
    images: InputPixels = test.images(torch.from_numpy(rows)).numpy()
    return images


def _deploy(
    spec: ModelSpec, artifact: Path, file: Path, test: Split, params: EvaluateParams, examiner: Examiner
) -> Parities:
    """Put the deployable file at `file`, other formats beside it, and measure how far they are off.

    A float export is compared with the torch model. An int8 file is its model; how far it is from its
    float parent was measured when it was made.
    """
    assert spec.weights is not None, "read_spec() returns specs with weights"
    if spec.weights.kind == "onnx":
        shutil.copyfile(onnx_path(artifact), file)
        return read_parities(artifact, "quantize")
    spec, model = load_model(artifact)
    export_onnx(spec, model, file)
    rows = torch.linspace(0, len(test) - 1, min(params.parity_images, len(test))).long()
    exported = onnx_outputs(OnnxModel(file, params.latency.threads), test, rows, params.batch_size)
    floats = torch_outputs(model, spec, test, rows, params.batch_size)
    found = {ONNX_NAME: parity(floats, exported, examiner, against="the torch model")}
    for kind in params.exports:
        found[FORMAT_FILES[kind]] = export_as(kind, spec, model, file.parent, test, rows, examiner)
    return Parities(files=found)


def _tta(
    outputs: Outputs,
    targets: Targets,
    model: OnnxModel,
    test: Split,
    params: EvaluateParams,
    examiner: Examiner,
) -> dict[str, float]:
    """score_tta: of the mean answer to an image itself, known already, and to other views of it."""
    if params.tta == "none":
        return {}
    itself, *others = views(params.tta)
    mean, rows = {name: itself.share * value for name, value in outputs.items()}, torch.arange(len(test))
    for view in others:
        seen = onnx_outputs(model, test, rows, params.batch_size, view.of)
        mean = {name: value + view.share * seen[name] for name, value in mean.items()}
    return {"score_tta": float(examiner.score(mean, targets).mean())}


def _parity_metrics(parities: Parities) -> dict[str, float]:
    deployed = parities.files[ONNX_NAME]
    return {"parity_max_diff": deployed.max_diff, "parity_agreement": deployed.agreement}


def _cost(spec: ModelSpec, file: Path) -> dict[str, float]:
    """MACs and parameters of the network that the spec describes (int8 does the same work), and file size."""
    model = rebuild(spec)
    return {
        "macs": count_macs(model, example(spec, 1)),
        "params": count_params(model),
        "size_bytes": file.stat().st_size,
    }


def _write_export(folder: Path, artifact: Path, file: Path, parities: Parities) -> None:
    with atomic_dir(folder) as part:
        shutil.copytree(file.parent, part, dirs_exist_ok=True)
        (part / PARITY_NAME).write_text(parities.to_json(), encoding="utf-8")
        write_seal(part, _names(part, part), {SPEC_NAME: sha256_file(artifact / SPEC_NAME)})


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    with atomic_dir(folder) as part:
        for name, content in files.items():
            (part / name).write_bytes(content)


def _seal(outs: EvaluationOuts, data: Path) -> None:
    """Say of which file and data the report is, and what its files are."""
    root = outs.seal.parent
    files = [path.relative_to(root).as_posix() for path in (outs.metrics, outs.scores)]
    of = {ONNX_NAME: sha256_file(outs.exported / ONNX_NAME), MANIFEST: sha256_file(data / MANIFEST)}
    write_seal(root, [*files, *_names(outs.tables, root), *_names(outs.pictures, root)], of)


def _names(folder: Path, root: Path) -> list[str]:
    """Names of a folder's files, relative to `root`."""
    return sorted(path.relative_to(root).as_posix() for path in folder.rglob("*") if path.is_file())


def _check_choices(notes: TaskNotes, artifact: Path, task: TaskParams, data: Path) -> None:
    asked = task.notes(read_manifest(data)).choices
    if asked != notes.choices:
        own, theirs = listed(notes.choices, MOST_CHOICES), listed(asked, MOST_CHOICES)
        raise ArtifactError(
            f"{artifact}: it answers with {own}, but {data} asks for {theirs}; train on these data first "
            "(`dvc repro`)"
        )
