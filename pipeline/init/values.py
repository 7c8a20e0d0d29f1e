"""All values of params.yaml: a preset, with what was chosen in its place."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.base.yaml_file import read_yaml
from pipeline.data.fields.field import LABEL
from pipeline.init.images import ImageChoice
from pipeline.init.judging import SURE, Judging
from pipeline.init.place import Place
from pipeline.init.recipe import RecipeChoice
from pipeline.init.split import SplitChoice
from pipeline.init.target import Target

TASKS: dict[str, dict[str, Any]] = {
    "class": {},
    "classes": {"name": "multilabel", "class_weights": "none"},
    "number": {"name": "regression", "loss": "huber"},
}
"""The section `task` by the target's field; that of the presets for a class."""
REPLACED_WHOLE = {"task", "source", "targets", "resize", "store", "split"}
"""Keys whose value takes the place of the preset's as a whole."""
ROUNDED = 0.02
"""Fraction of the validation images whose score int8 may change both ways by chance alone."""
LEAST_AGREEMENT = 0.8
MOST_WORKERS = 4


def values_of(
    presets: Path,
    place: Place,
    source: Mapping[str, Any],
    target: Target,
    images: ImageChoice,
    judging: Judging,
    split: SplitChoice,
    recipe: RecipeChoice,
    cores: int,
) -> dict[str, Any]:
    """presets: their folder. cores: of this machine."""
    preset = read_yaml(presets / f"{recipe.preset}.yaml")
    drop_int8 = max(0.01, math.ceil(100 * SURE * math.sqrt(ROUNDED / judging.rows["val"])) / 100)
    changes: dict[str, Any] = {
        "data": {
            "source": dict(source),
            "targets": {LABEL: target.section},
            "split": split.section,
            **images.keys,
        },
        "task": TASKS[target.field] or preset["task"],
        "quantize": {"max_drop": drop_int8, "calibration_images": min(256, judging.rows["train"])},
        "register": {
            "model_name": place.model_name,
            "min_score": judging.min_score,
            "max_drop": judging.max_drop,
            "max_group_drop": judging.max_group_drop,
            "min_agreement_with_dense": LEAST_AGREEMENT,
            "min_export_agreement": _least_agreement(preset, judging),
            "champion_min_gain": max(0.002, round(judging.error, 3)),
        },
        "resources": {"workers": min(MOST_WORKERS, cores)},
    }
    return _merged(_merged(preset, changes), recipe.changes)


def _least_agreement(preset: Mapping[str, Any], judging: Judging) -> float:
    """The preset's limit for int8 files, less what chance may do to the few images that are compared."""
    limit: float = preset["register"]["min_export_agreement"]
    images = min(preset["evaluate"]["parity_images"], judging.rows["test"])
    return round(limit - SURE * math.sqrt(limit * (1 - limit) / images), 3)


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(values)
    for key, change in changes.items():
        is_section = (
            isinstance(change, Mapping) and isinstance(values[key], Mapping) and key not in REPLACED_WHOLE
        )
        found[key] = _merged(values[key], change) if is_section else change
    return found
