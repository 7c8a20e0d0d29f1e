"""Small models and prepared data for the tests of pipeline.compress and pipeline.evaluate."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.base.files import sha256_file
from pipeline.base.records import write_seal
from pipeline.data.fields.field import LABEL, PIXELS, AnyField
from pipeline.data.fields.image import ImageField
from pipeline.data.fields.one_class import ClassField
from pipeline.data.prepared.manifest import Manifest, SourceInfo, SplitInfo, write_manifest
from pipeline.data.prepared.reader import Split, normalise
from pipeline.data.prepared.shards import Table, origins, write_shards
from pipeline.export.onnx import export_onnx
from pipeline.models.description.spec import Architecture, ModelSpec, Preprocessing, TensorSpec
from pipeline.models.disk.artifact import SPEC_NAME
from pipeline.models.disk.weights import load_model, save_model
from pipeline.models.nets.build import TRACED, build, example
from pipeline.prune.params import PruneParams
from pipeline.prune.profile_report import Profile
from pipeline.quantize.params import QuantizeParams
from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.judging.examiner import make_examiner
from pipeline.tasks.training.task import make_task
from tests.support.data_samples import STRETCH
from tests.support.tasks import classification

SIZE = 8
CLASSES = ["left", "right", "top"]
ROWS = {"train": 96, "val": 48, "test": 60}
TASK_PARAMS = classification()
NOTES = ClassificationNotes(classes=CLASSES)
TASK = make_task(TASK_PARAMS, NOTES)
EXAMINER = make_examiner(NOTES)


def prune_params(**changes: Any) -> PruneParams:
    values: dict[str, Any] = {
        "target": {"macs": 0.5},
        "scope": "global",
        "importance": "l2",
        "round_to": 1,
        "max_ratio": 0.9,
        "ignored": [],
        "schedule": None,
        "sample_batches": 2,
        "batch_size": 16,
        "seed": 0,
        "student": None,
    }
    return PruneParams.model_validate(values | changes)


def fixed_profile(round_to: int = 1) -> Profile:
    """What the stage `profile` says of a fixed rounding and a target of MACs or parameters."""
    return Profile(round_to=round_to, roundings=[], chosen=None)


def quantize_params(**changes: Any) -> QuantizeParams:
    values: dict[str, Any] = {
        "mode": "static",
        "max_drop": 0.05,
        "calibration_images": 48,
        "calibration": "minmax",
        "batch_size": 16,
        "per_channel": True,
        "reduce_range": True,
        "seed": 0,
    }
    return QuantizeParams.model_validate(values | changes)


def prepared_data(folder: Path, seed: int = 0, size: int = SIZE) -> Path:
    """Noise with one bright side that gives the class away, in train, val and test."""
    generator = np.random.default_rng(seed)
    fields: dict[str, AnyField] = {
        PIXELS: ImageField(
            height=size,
            width=size,
            channels=3,
            resize=STRETCH,
            sixteen_bit="refuse",
            mean=[0.4] * 3,
            std=[0.25] * 3,
        ),
        LABEL: ClassField(classes=CLASSES),
    }
    splits = {}
    for name, rows in ROWS.items():
        labels = np.arange(rows) % len(CLASSES)
        images = generator.integers(0, 120, (rows, size, size, 3), np.uint8)
        half = size // 2
        images[labels == 0, :, :half] += 130
        images[labels == 1, :, half:] += 130
        images[labels == 2, :half] += 130
        folder.mkdir(parents=True, exist_ok=True)
        columns = {PIXELS: images.reshape(rows, -1), LABEL: labels.astype(np.int64)}
        table = Table(fields, columns, origins(["noise"] * rows, range(rows)))
        shards = write_shards(folder, name, table, np.arange(rows), 50)
        splits[name] = SplitInfo(rows=rows, counts={"label": np.bincount(labels).tolist()}, shards=shards)
    manifest = Manifest(
        fields=fields,
        splits=splits,
        source=SourceInfo(name="noise", sha256="0" * 64, left_out={}),
        quarantined={},
        duplicates={},
    )
    write_manifest(folder, manifest)
    return folder


def spec_of(name: str, width: int | None = 8, size: int = SIZE, num_outputs: int = len(CLASSES)) -> ModelSpec:
    return ModelSpec(
        architecture=Architecture(
            name=name,
            width=width,
            dropout=0.0,
            stochastic_depth=0.0,
            num_outputs=num_outputs,
            channels=3,
            image_height=size,
            image_width=size,
        ),
        inputs={"pixels": TensorSpec(shape=[3, size, size], meaning="pixels 0..255")},
        outputs={"logits": TensorSpec(shape=[num_outputs], meaning="a logit for each class")},
        preprocessing=Preprocessing(
            resize=STRETCH, sixteen_bit="refuse", mean=[0.4, 0.4, 0.4], std=[0.25, 0.25, 0.25]
        ),
        task={
            "name": "classification",
            "classes": [*CLASSES] if num_outputs == len(CLASSES) else [*map(str, range(num_outputs))],
        },
        plan={},
        ancestors={"data": "a" * 64},
        provenance={"threads": 1},
    )


def network(spec: ModelSpec, seed: int = 0) -> nn.Module:
    """A built network whose batch norms are not all alike, in eval mode."""
    torch.manual_seed(seed)
    model = build(spec.architecture)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def trained(spec: ModelSpec, data: Path, steps: int = 40) -> nn.Module:
    """A network that has learned the bright sides."""
    model = network(spec).train()
    train = Split.open(data, "train")
    mean, std = torch.tensor(spec.preprocessing.mean), torch.tensor(spec.preprocessing.std)
    images_BCHW = normalise(train.images(torch.arange(len(train))), mean, std)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(TASK.loss({"logits": model(images_BCHW)}, train.targets).mean())
        optimizer.step()
    return model.eval()


def exported(artifact: Path) -> Path:
    """The artifact's ONNX file beside its folder, sealed as `evaluate` does."""
    spec, model = load_model(artifact)
    onnx = artifact.parent / "model.onnx"
    export_onnx(spec, model, onnx)
    write_seal(onnx.parent, [onnx.name], {SPEC_NAME: sha256_file(artifact / SPEC_NAME)})
    return onnx


def saved(folder: Path, spec: ModelSpec, model: nn.Module) -> ModelSpec:
    return save_model(folder, spec, model)


def noise(spec: ModelSpec) -> torch.Tensor:
    """An input that a network is traced with."""
    return example(spec, TRACED, seed=0)
