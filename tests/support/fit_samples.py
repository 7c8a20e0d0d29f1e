"""A tiny problem to fit."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.base.params import parse_section
from pipeline.base.yaml_file import read_yaml
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.prepare import prepare
from pipeline.models.description.params import ModelParams
from pipeline.train.job import Inputs, Job, Problem, Site, dense_spec
from pipeline.train.params import FitParams, OptimizerParams
from tests.support.places import ROOT
from tests.support.tasks import classification

BASE: dict[str, Any] = {
    "epochs": 3,
    "global_batch_size": 64,
    "sampling": "shuffle",
    "accumulate": 1,
    "optimizer": {
        "name": "sgd",
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "lr_factors": {},
        "layer_decay": None,
    },
    "schedule": {"name": "cosine", "warmup": 0.1, "final": 0.0},
    "amp": "off",
    "exact_elastic": False,
    "channels_last": True,
    "grad_clip": None,
    "ema_decay": None,
    "augment": {
        "resized_crop": None,
        "color_jitter": None,
        "trivial": False,
        "flip": "none",
        "crop_padding": 0,
        "crop_fill": "black",
        "cutout": 2,
        "erase": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
    },
    "final_weights": "last",
    "patience": None,
    "frozen": [],
    "head_first_epochs": 0,
    "distil": None,
    "sparsity": None,
    "quantization_aware": None,
    "seed": 0,
}
CLASSIFICATION = classification(label_smoothing=0.1)
MLP = ModelParams(name="mlp", width=32, dropout=0.1, stochastic_depth=0.0, init="random")
CONVOLUTIONS = ModelParams(name="vgg11", width=4, dropout=0.1, stochastic_depth=0.0, init="random")
"""Small, but with batch norm, whose statistics the ranks share."""


def prepared_digits(folder: Path, **changes: Any) -> Path:
    """Prepared data below a folder. changes: of the section `data`."""
    values = read_yaml(ROOT / "presets" / "digits.yaml")["data"] | changes
    params = parse_section("data", values, DataParams)
    prepare(params, folder, folder / "prepared", folder / "card")
    return folder / "prepared"


def job(
    data: Path, run_dir: Path, *, model: ModelParams = MLP, checkpoint_s: float = 30.0, **changes: object
) -> Job:
    return Job(
        problem=Problem(
            spec=dense_spec(model, CLASSIFICATION, data),
            params=FitParams.model_validate(BASE | changes),
            task=CLASSIFICATION,
        ),
        inputs=Inputs(data=data),
        site=Site(run_dir=run_dir, journal=run_dir / "journal.jsonl", checkpoint_s=checkpoint_s),
    )


def changed_job(the_job: Job, **changes: object) -> Job:
    """With other values of its problem, inputs or site, by their names."""
    names = changes.keys()
    parts: dict[str, BaseModel] = {"problem": the_job.problem, "inputs": the_job.inputs, "site": the_job.site}
    assert names <= {name for part in parts.values() for name in type(part).model_fields}
    return the_job.model_copy(
        update={
            key: part.model_copy(
                update={name: changes[name] for name in names & type(part).model_fields.keys()}
            )
            for key, part in parts.items()
        }
    )


def optimizer_params(**changes: object) -> OptimizerParams:
    values = {
        "name": "sgd",
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.5,
        "lr_factors": {},
        "layer_decay": None,
    }
    return OptimizerParams.model_validate(values | changes)
