"""Damage, exchange and edits by hand of every file that a stage reads, on the functions that read them: none
is silent.
"""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import safetensors.torch

from pipeline.base.files import sha256_file
from pipeline.base.stage import Stage
from pipeline.compare.compare import Evaluated, compare
from pipeline.compare.records import VARIANTS
from pipeline.data.prepared.reader import Split
from pipeline.errors import EspalierError
from pipeline.evaluate.evaluate import evaluate
from pipeline.export.parity import Parities, Parity
from pipeline.models.disk.artifact import exported_onnx, read_spec, save_onnx
from pipeline.models.disk.weights import load_model
from pipeline.pretrained.bring import bring_teacher
from pipeline.prune.profile_report import read_profile
from pipeline.quantize.quantize import quantize
from pipeline.registry.candidates import read_inputs
from pipeline.train.job import child_spec, dense_spec, resolve_teacher
from tests.support import damage
from tests.support.compress_samples import (
    CLASSES,
    SIZE,
    TASK_PARAMS,
    fixed_profile,
    network,
    prepared_data,
    quantize_params,
    saved,
    spec_of,
)
from tests.support.figures_samples import evaluated_project, linear_onnx, seal
from tests.support.fit_samples import CLASSIFICATION, MLP
from tests.unit.compare import test_compare
from tests.unit.evaluate import test_evaluate
from tests.unit.pretrained.test_bring import distil

Damage = Callable[[Path], object]
DATA, TRAIN, TEST = (
    "data/prepared/manifest.json",
    "data/prepared/train-00000.arrow",
    "data/prepared/test-00000.arrow",
)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_line(tmp_path_factory.mktemp("line"))


def made_line(root: Path) -> Path:
    """What all stages leave before `register`, of tiny networks that have learned nothing."""
    evaluated_project(root)
    shutil.rmtree(root / "data/prepared")
    data = prepared_data(root / "data/prepared")
    digest = sha256_file(data / "manifest.json")
    spec = spec_of("mlp", width=4).model_copy(update={"ancestors": {"data": digest}})
    labels = Split.open(data, "test").targets["label"].tolist()
    scores = [f"{row},1.0,{CLASSES[label]},{CLASSES[label]},0.5" for row, label in enumerate(labels)]
    for number, variant in enumerate(VARIANTS):
        artifact, onnx = root / "artifacts" / variant, root / "exported" / variant / "model.onnx"
        linear_onnx(onnx, seed=number, shape=(3, SIZE, SIZE))
        if variant == "quantized":
            measured = Parity(against="floats", run_by="hand", max_diff=0.1, agreement=1.0, images=48)
            parities = Parities(files={"model.onnx": measured}).to_json()
            save_onnx(artifact, spec, onnx, {"parity.json": parities})
        else:
            spec = saved(artifact, spec, network(spec, seed=number))
            spec = spec.model_copy(update={"ancestors": spec.ancestors | {variant: spec.digest}})
        (root / "reports" / variant / "scores.csv").write_text(
            "\n".join(["row,score,answer,truth,confidence", *scores, ""])
        )
        seal(root, variant, digest)
    (root / "reports/profile.json").write_text(fixed_profile().to_json())
    bring_teacher(str(root / "artifacts/finetuned"), root)
    init = root / "data/init/weights.safetensors"
    init.parent.mkdir()
    safetensors.torch.save_file(network(spec, seed=7).state_dict(), init)
    (init.parent / "origin.json").write_text(json.dumps({"source": "x", "sha256": sha256_file(init)}))
    return root


def read_to_train(root: Path) -> None:
    dense_spec(MLP, CLASSIFICATION, root / "data/prepared", root / "data/init/weights.safetensors")
    for split in ("train", "val"):
        Split.open(root / "data/prepared", split)


def read_to_prune(root: Path) -> None:
    load_model(root / "artifacts/dense")
    read_profile(root / "reports/profile.json")


def read_to_finetune(root: Path) -> None:
    spec, _ = load_model(root / "artifacts/pruned")
    resolve_teacher(
        child_spec(spec, "pruned"), distil("file"), root / "artifacts/dense", root / "data/teacher"
    )
    load_model(root / "data/teacher")


def read_to_quantize(root: Path) -> None:
    read_spec(root / "artifacts/finetuned")
    exported_onnx(root / "exported/finetuned", root / "artifacts/finetuned", "evaluate@finetuned")


def run_quantize(root: Path) -> None:
    floats = root / "exported/finetuned/model.onnx"
    quantize(root / "artifacts/finetuned", floats, root / "data/prepared", root / "out", quantize_params())


def run_evaluate(root: Path, variant: str) -> None:
    outs, params = test_evaluate.outs_in(root / "out"), test_evaluate.evaluate_params()
    evaluate(root / "artifacts" / variant, root / "data/prepared", outs, params, TASK_PARAMS)


def run_compare(root: Path) -> None:
    variants = {
        name: Evaluated(
            root / "exported" / name / "model.onnx",
            *(root / "reports" / name / file for file in ("scores.csv", "metrics.json", "seal.json")),
        )
        for name in VARIANTS
    }
    compare(
        variants,
        root / "data/prepared",
        test_compare.outs_in(root / "out"),
        test_compare.params(),
        TASK_PARAMS,
    )


def read_to_register(root: Path) -> None:
    read_inputs(Stage("register", root))


def on(path: str, how: Callable[[Path], object]) -> Damage:
    return lambda root: how(root / path)


def flips(path: str, *shares: float) -> list[Damage]:
    return [on(path, partial(damage.flip, share=share)) for share in shares or (0.0, 0.5, 1.0)]


def losses(path: str) -> list[Damage]:
    return [on(path, damage.truncate), on(path, damage.zero), on(path, Path.unlink)]


def edits(path: str, before: str, after: str) -> list[Damage]:
    return [on(path, lambda file: damage.edit(file, before, after))]


def exchanges(one: str, other: str) -> list[Damage]:
    return [lambda root: damage.exchange(root / one, root / other)]


DAMAGES: dict[Callable[[Path], object], list[Damage]] = {
    read_to_train: [
        *flips(DATA),
        *losses(DATA),
        *edits(DATA, "0.25", "0.5"),
        *flips(TRAIN),
        *losses(TRAIN),
        *exchanges(TRAIN, "data/prepared/train-00001.arrow"),
        *exchanges(TRAIN, "data/prepared/val-00000.arrow"),
        *flips("data/init/weights.safetensors"),
        *losses("data/init/weights.safetensors"),
        *exchanges("data/init/weights.safetensors", "artifacts/dense/weights.safetensors"),
        *edits("data/init/origin.json", '"sha256": "', '"sha256": "0'),
    ],
    read_to_prune: [
        *flips("artifacts/dense/weights.safetensors"),
        *losses("artifacts/dense/weights.safetensors"),
        *flips("artifacts/dense/model.json"),
        *losses("artifacts/dense/model.json"),
        *edits("artifacts/dense/model.json", '"left"', '"up"'),
        *exchanges("artifacts/dense/model.json", "artifacts/pruned/model.json"),
        *exchanges("artifacts/dense/weights.safetensors", "artifacts/pruned/weights.safetensors"),
        *flips("reports/profile.json"),
        *losses("reports/profile.json"),
        *edits("reports/profile.json", '"round_to": 1', '"round_to": 8'),
    ],
    read_to_finetune: [
        *flips("artifacts/pruned/weights.safetensors"),
        *edits("artifacts/pruned/model.json", "0.4", "0.5"),
        *flips("data/teacher/weights.safetensors"),
        *edits("data/teacher/model.json", "0.25", "0.5"),
        *exchanges("data/teacher/model.json", "artifacts/dense/model.json"),
        *exchanges("data/teacher/weights.safetensors", "artifacts/dense/weights.safetensors"),
        *edits("data/teacher/origin.json", '"sha256": "', '"sha256": "0'),
    ],
    run_quantize: [
        *flips("exported/finetuned/model.onnx"),
        *losses("exported/finetuned/model.onnx"),
        *exchanges("exported/finetuned/model.onnx", "exported/dense/model.onnx"),
        *exchanges("exported/finetuned", "exported/dense"),
        *flips("exported/finetuned/seal.json"),
        *edits("artifacts/finetuned/model.json", "0.25", "0.5"),
        *exchanges("artifacts/finetuned", "artifacts/pruned"),
        *flips("data/prepared/val-00000.arrow"),
    ],
    partial(run_evaluate, variant="finetuned"): [
        *flips("artifacts/finetuned/weights.safetensors", 0.9),
        *edits("artifacts/finetuned/model.json", "0.25", "0.5"),
        *flips(TEST),
        *losses(TEST),
        *edits(DATA, '"left"', '"up"'),
    ],
    partial(run_evaluate, variant="quantized"): [
        *flips("artifacts/quantized/model.onnx"),
        *losses("artifacts/quantized/model.onnx"),
        *exchanges("artifacts/quantized/model.onnx", "exported/dense/model.onnx"),
        *flips("artifacts/quantized/parity.json"),
        *losses("artifacts/quantized/parity.json"),
        *edits("artifacts/quantized/parity.json", "0.1", "0.2"),
    ],
    run_compare: [
        *flips("exported/quantized/model.onnx"),
        *losses("exported/pruned/model.onnx"),
        *exchanges("exported/quantized/model.onnx", "exported/dense/model.onnx"),
        *exchanges("exported/quantized", "exported/dense"),
        *flips("reports/pruned/scores.csv"),
        *losses("reports/dense/scores.csv"),
        *edits("reports/dense/scores.csv", "left,left", "left,top"),
        *exchanges("reports/dense", "reports/quantized"),
        *edits("reports/finetuned/metrics.json", "20000", "10000"),
        *edits("reports/finetuned/seal.json", "scores.csv", "score.csv"),
        *flips(TEST),
    ],
    read_to_register: [
        *flips("artifacts/dense/weights.safetensors"),
        *flips("artifacts/quantized/model.onnx"),
        *edits("artifacts/dense/model.json", '"left"', '"up"'),
        *exchanges("artifacts/dense", "artifacts/pruned"),
        *flips("exported/quantized/model.onnx"),
        *losses("exported/dense/model.onnx"),
        *exchanges("exported/quantized/model.onnx", "exported/dense/model.onnx"),
        *exchanges("exported/quantized", "exported/dense"),
        *edits("exported/dense/parity.json", "0.995", "1.0"),
        *edits("reports/quantized/metrics.json", "0.98", "0.99"),
        *edits("reports/quantized/latency.json", '"ratio":4.0', '"ratio":99.0'),
        *exchanges("reports/pruned/latency.json", "reports/finetuned/latency.json"),
        *edits("reports/quantized/lost/lost.json", "0.99", "1.0"),
        *exchanges("reports/quantized", "reports/dense"),
        *flips("reports/seal.json"),
        *losses("reports/quantized/seal.json"),
    ],
}
CASES = [pytest.param(reader, each) for reader, several in DAMAGES.items() for each in several]


def test_the_line_is_whole_before_it_is_damaged(line: Path) -> None:
    for read in (read_to_train, read_to_prune, read_to_finetune, read_to_quantize, read_to_register):
        read(line)
    assert len(CASES) >= 60


@pytest.mark.parametrize(("reader", "harm"), CASES)
def test_no_damage_is_silent(
    line: Path, tmp_path: Path, reader: Callable[[Path], object], harm: Damage
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(line, root)
    harm(root)
    with pytest.raises(EspalierError, match=r"`(espalier|dvc repro)"):
        reader(root)
    assert not (root / "out").exists()
