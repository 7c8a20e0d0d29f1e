"""Every section of params.yaml at once: checked before any stage computes, and described for editors.

It can only stop a stage, never change an out, so no stage of dvc.yaml depends on this file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pipeline.base.params import nearest, parse_section
from pipeline.base.yaml_file import read_yaml
from pipeline.data.intake.params import DataParams
from pipeline.errors import ParamsError, redacted, secret_in
from pipeline.evaluate.params import EvaluateParams
from pipeline.launch.resources import Resources
from pipeline.models.description.params import ModelParams
from pipeline.prune.params import PruneParams
from pipeline.quantize.params import QuantizeParams
from pipeline.registry.params import RegisterParams
from pipeline.tasks.description.params import TaskParams
from pipeline.train.params import FitParams

SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataParams,
    "model": ModelParams,
    "task": TaskParams,
    "train": FitParams,
    "prune": PruneParams,
    "finetune": FitParams,
    "quantize": QuantizeParams,
    "evaluate": EvaluateParams,
    "register": RegisterParams,
    "resources": Resources,
}


def check_params(path: Path) -> None:
    """Check each section of a params file. Raises ParamsError with every problem found, one per line."""
    check_values(read_yaml(path), path.name)


def check_values(values: dict[str, Any], file: str) -> None:
    """Check what a params file holds, or would hold."""
    _refuse_secrets(values, file)
    unknown = [str(name) for name in values if name not in SECTIONS]
    problems = [f"{file}: unknown section {name!r}{nearest(name, list(SECTIONS))}" for name in unknown]
    problems += [f"{file}: section {name!r} is missing; add it" for name in SECTIONS if name not in values]
    for name, model in SECTIONS.items():
        if name in values:
            problems += _problems(name, values[name], model, file)
    if not problems and values["train"]["distil"] is not None:
        problems = [
            f"{file}: train.distil must be null: the dense model has no teacher (finetune.distil has one)"
        ]
    if not problems and values["register"]["speed_batch"] not in values["evaluate"]["latency"]["batches"]:
        problems = [
            f"{file}: register.speed_batch must be one of evaluate.latency.batches, which are timed; add it "
            "there"
        ]
    if not problems:
        problems = [f"{file}: {problem}" for problem in _other_grids(values["finetune"], values["quantize"])]
    if not problems:
        problems = [f"{file}: {problem}" for problem in _other_targets(values["data"], values["task"])]
    if problems:
        raise ParamsError("\n".join(problems))


def json_schema() -> dict[str, Any]:
    """JSON Schema of params.yaml, for editors that complete and check it while typing."""
    models = sorted({(model, "validation") for model in SECTIONS.values()}, key=lambda pair: pair[0].__name__)
    references, definitions = models_json_schema(models)  # type: ignore[arg-type]
    return {
        "title": "params.yaml",
        "type": "object",
        "additionalProperties": False,
        "required": list(SECTIONS),
        "properties": {name: references[model, "validation"] for name, model in SECTIONS.items()},
        **definitions,
    }


def _other_targets(data: Any, task: Any) -> Iterator[str]:
    """What the task is about, and the data do not name so."""
    targets = parse_section("data", data, DataParams).targets
    for name, field in parse_section("task", task, TaskParams).root.needs.items():
        if name not in targets:
            yield f"task needs a target {name!r} in data.targets{nearest(name, list(targets))}"
        elif targets[name].field != field:
            yield (
                f"data.targets.{name}.field is {targets[name].field}, but the task needs {field}; change one "
                "of them"
            )


def _other_grids(finetune: dict[str, Any], quantize: dict[str, Any]) -> Iterator[str]:
    """What quantization-aware training (train/methods) rounds in another way than the deployed file."""
    if finetune["quantization_aware"] is None:
        return
    rounds = {
        "mode": "static",
        "per_channel": True,
        "reduce_range": finetune["quantization_aware"]["reduce_range"],
    }
    for key, value in rounds.items():
        if quantize[key] != value:
            yield (
                f"quantize.{key} is {_yaml(quantize[key])}, but finetune.quantization_aware trains for "
                f"{_yaml(value)}; set it to {_yaml(value)}, or finetune.quantization_aware to null"
            )


def _yaml(value: bool | str) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _problems(name: str, values: Any, model: type[BaseModel], file: str) -> list[str]:
    try:
        parse_section(name, values, model, file=file)
    except ParamsError as error:
        return [str(error)]
    return []


def _refuse_secrets(values: dict[str, Any], file: str) -> None:
    """Raises ParamsError for a value that holds a secret, which it does not repeat.

    Refused rather than redacted: the file is committed, and DVC copies its values into dvc.lock, where we
    change nothing.
    """
    found = [(name, secret) for name, text in _texts(values) if (secret := secret_in(text))]
    if found:
        cure = (
            "the file is committed, and its values go to dvc.lock, MLflow and the cluster; take it out, give "
            "it in variables (AWS_*, MLFLOW_TRACKING_*, RAY_*), and replace the secret if it was committed"
        )
        raise ParamsError(
            "\n".join(f"{file}: {redacted(name)} holds {secret}; {cure}" for name, secret in found)
        )


def _texts(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """All strings in a params file, keys too, each with the dotted name of where it is."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield name or "the top level", str(key)
            yield from _texts(value, f"{name}.{key}".removeprefix("."))
    elif isinstance(values, list):
        for value in values:
            yield from _texts(value, name)
    elif isinstance(values, str):
        yield name, values
