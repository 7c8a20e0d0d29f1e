"""One variant on the test split, measured on the file that would be deployed.

Letters: N samples, K classes.
"""

import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from pipeline.data.prepared.manifest import MANIFEST, read_manifest
from pipeline.data.prepared.reader import Split
from pipeline.errors import ArtifactError
from pipeline.evaluate.answers import Answers
from pipeline.evaluate.params import EvaluateParams
from pipeline.evaluate.views import views
from pipeline.export.formats import FORMAT_FILES, RUN_BY, export_as
from pipeline.export.onnx import export_onnx
from pipeline.export.params import Format
from pipeline.export.parity import Parity, onnx_logits, parity, torch_logits
from pipeline.export.session import OnnxModel
from pipeline.files import atomic_dir, sha256_file, to_json, write_atomic
from pipeline.models.cost import count_macs, count_params
from pipeline.models.description.spec import ONNX_NAME, ModelSpec
from pipeline.models.disk.artifact import SPEC_NAME, onnx_path, read_spec
from pipeline.models.disk.weights import load_model
from pipeline.models.nets.build import example, rebuild
from pipeline.records import write_seal
from pipeline.tasks.task import Task


@dataclass(frozen=True)
class EvaluationOuts:
    """Where an evaluation goes; exported and pictures are folders.

    seal: over all but exported, which has its own.
    """

    exported: Path
    metrics: Path
    reliability: Path
    answers: Path
    classes: Path
    pictures: Path
    seal: Path


def evaluate(
    artifact: Path, data: Path, outs: EvaluationOuts, params: EvaluateParams, task: Task
) -> dict[str, float]:
    """Export an artifact (an int8 one is a file already), measure the file on the test split, write every
    out.

    Returns the metrics, as in metrics.json; they are the same in every run on the same machine. Everything is
    computed before the first out is written. Raises CompressionError if the model cannot be exported,
    ArtifactError and DataError if an input is unusable or they do not belong together.
    """
    spec = read_spec(artifact)
    _check_classes(spec, artifact, data)
    test = Split.open(data, "test")
    with tempfile.TemporaryDirectory(prefix="espalier-evaluate-") as name:
        file = Path(name) / ONNX_NAME
        agreement = _deploy(spec, artifact, file, test, params)
        model, rows = OnnxModel(file, params.latency.threads), torch.arange(len(test))
        answers = Answers.of(onnx_logits(model, test, rows, params.batch_size), test, spec.classes, params)
        metrics = (
            answers.metrics(task) | _tta(answers, model, params) | agreement.metrics() | _cost(spec, file)
        )
        _write(outs, artifact, file, agreement, answers, metrics)
    _seal(outs, data)
    return metrics


@dataclass(frozen=True)
class Agreement:
    """Parity of the exported file, and with what it was compared; exports: of the files of other formats
    beside it.
    """

    against: str
    parity: Parity
    exports: dict[Format, Parity] = field(default_factory=dict)

    def record(self) -> dict[str, object]:
        """parity.json."""
        exports = {
            FORMAT_FILES[kind]: asdict(found) | {"run_by": RUN_BY[kind]}
            for kind, found in self.exports.items()
        }
        return {"against": self.against, **asdict(self.parity), "exports": exports}

    def metrics(self) -> dict[str, float]:
        return {"parity_max_diff": self.parity.max_diff, "parity_agreement": self.parity.agreement}


def _deploy(spec: ModelSpec, artifact: Path, file: Path, test: Split, params: EvaluateParams) -> Agreement:
    """Put the deployable file at `file`, other formats beside it, and say how far their answers are from the
    model's.

    A float export is compared with the torch model. An int8 file is its model; how far it is from its
    float parent was measured when it was made.
    """
    assert spec.weights is not None, "read_spec() returns specs with weights"
    if spec.weights.kind == "onnx":
        shutil.copyfile(onnx_path(artifact), file)
        return Agreement("the float export, when quantized", _recorded_parity(spec, artifact))
    spec, model = load_model(artifact)
    export_onnx(spec, model, file)
    rows = torch.linspace(0, len(test) - 1, min(params.parity_images, len(test))).long()
    exported = onnx_logits(OnnxModel(file, params.latency.threads), test, rows, params.batch_size)
    found = parity(torch_logits(model, spec, test, rows, params.batch_size), exported)
    exports = {kind: export_as(kind, spec, model, file.parent, test, rows) for kind in params.exports}
    return Agreement("the torch model", found, exports)


def _tta(plain: Answers, model: OnnxModel, params: EvaluateParams) -> dict[str, float]:
    """top1_tta: top-1 of the mean answer to an image itself, known already, and to other views of it."""
    if params.tta == "none":
        return {}
    itself, *others = views(params.tta)
    mean_NK, rows = itself.share * plain.logits, torch.arange(len(plain.test))
    for view in others:
        mean_NK = mean_NK + view.share * onnx_logits(model, plain.test, rows, params.batch_size, view.of)
    return {"top1_tta": float((mean_NK.argmax(axis=1) == plain.test.labels.numpy()).mean())}


def _recorded_parity(spec: ModelSpec, artifact: Path) -> Parity:
    try:
        return Parity(
            max_diff=float(spec.provenance["int8_max_diff"]),
            agreement=float(spec.provenance["int8_agreement"]),
            images=int(spec.provenance["int8_images"]),
        )
    except KeyError as error:
        raise ArtifactError(
            f"{artifact}: its provenance lacks {error}; make it again: `dvc repro -f -s quantize`"
        ) from error


def _cost(spec: ModelSpec, file: Path) -> dict[str, float]:
    """MACs and parameters of the network that the spec describes (int8 does the same work), bytes of the
    file.
    """
    model = rebuild(spec)
    return {
        "macs": count_macs(model, example(spec, 1)),
        "params": count_params(model),
        "size_bytes": file.stat().st_size,
    }


def _write(
    outs: EvaluationOuts,
    artifact: Path,
    file: Path,
    agreement: Agreement,
    answers: Answers,
    metrics: dict[str, float],
) -> None:
    texts = {
        outs.metrics: to_json(metrics),
        outs.reliability: answers.reliability_csv(),
        outs.answers: answers.answers_csv(),
        outs.classes: answers.classes_csv(),
    }
    pictures = answers.pictures()
    with atomic_dir(outs.exported) as partial:
        shutil.copytree(file.parent, partial, dirs_exist_ok=True)
        (partial / "parity.json").write_text(to_json(agreement.record()), encoding="utf-8")
        write_seal(partial, _names(partial, partial), {SPEC_NAME: sha256_file(artifact / SPEC_NAME)})
    for path, text in texts.items():
        write_atomic(path, text)
    with atomic_dir(outs.pictures) as partial:
        for name, content in pictures.items():
            (partial / name).write_bytes(content)


def _seal(outs: EvaluationOuts, data: Path) -> None:
    """Say of which file and data the report is, and what its files are."""
    root = outs.seal.parent
    files = [
        path.relative_to(root).as_posix()
        for path in (outs.metrics, outs.reliability, outs.answers, outs.classes)
    ]
    of = {ONNX_NAME: sha256_file(outs.exported / ONNX_NAME), MANIFEST: sha256_file(data / MANIFEST)}
    write_seal(root, [*files, *_names(outs.pictures, root)], of)


def _names(folder: Path, root: Path) -> list[str]:
    """Names of a folder's files, relative to `root`."""
    return sorted(path.relative_to(root).as_posix() for path in folder.rglob("*") if path.is_file())


def _check_classes(spec: ModelSpec, artifact: Path, data: Path) -> None:
    classes = read_manifest(data).classes
    if classes != spec.classes:
        raise ArtifactError(
            f"{artifact}: its classes are {spec.classes}, but {data} has {classes}; train on these data "
            "first (`dvc repro`)"
        )
