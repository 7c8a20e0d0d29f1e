"""`espalier init`: look at a path, and write the params.yaml that fits it."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.base.files import write_atomic
from pipeline.base.params import parse_section
from pipeline.data.intake.opening import open_source
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.trees.blob import printable_name
from pipeline.data.survey.survey import Survey, survey
from pipeline.errors import ArtifactError, DataError
from pipeline.init.images import PHOTOGRAPH_SIDE, choose_images
from pipeline.init.judging import judge_with
from pipeline.init.place import Place, find_place
from pipeline.init.recipe import choose_recipe
from pipeline.init.split import choose_split
from pipeline.init.target import choose_target
from pipeline.init.text import to_text
from pipeline.init.told import chosen_lines, found_lines, warnings
from pipeline.init.values import values_of
from pipeline.models.description.spec import WEIGHTS_NAME
from pipeline.schema import check_values
from pipeline.train.job import INIT_FOLDER

FETCHED = "pretrained"
USUAL_PRETRAINED = "timm/tf_efficientnet_lite0"
"""Network of `--weights pretrained`: small, fast as int8, and made for it."""
BROUGHT_WEIGHTS = Path(INIT_FOLDER, WEIGHTS_NAME)


def write_fitting_params(given: str, root: Path, presets: Path, weights: str | None) -> str:
    """Write params.yaml for what lies at `given`, and return what to say.

    weights: to start from, as `espalier weights` takes them; None: those in data/init, if they fit. Raises
    DataError for what cannot be trained on, ArtifactError and UnreachableError for weights, and then leaves
    params.yaml as it was.
    """
    place = find_place(given, root)
    try:
        with survey(place.path, place.written) as found:
            plan = _plan(found, place, root, presets, weights)
    except OSError as error:
        raise DataError(f"{error.filename or given}: cannot be read ({error.strerror}); mend it") from error
    check_values(plan.values, "params.yaml")
    _try_to_open(plan.values, place.path)
    brought = [_bring(weights, root, plan.values)] if weights else []
    comments = [
        f"Written by `espalier init {place.written}`:",
        *_columns(plan.chosen),
        "Every key is explained in params.schema.json, which editors show while you type.",
    ]
    write_atomic(root / "params.yaml", to_text(plan.values, comments))
    found_and_chosen = [*_columns(plan.found), "params.yaml:", *_columns(plan.chosen)]
    warned = ["look at:", *(f"  - {line}" for line in plan.warnings)]
    said = [f"{place.written}:", *found_and_chosen, *warned, *brought, "Next: `make repro`"]
    return "\n".join(map(printable_name, said))


class _Plan(NamedTuple):
    """values: of params.yaml. found, chosen: words and what belongs to each. warnings: what to look at."""

    values: dict[str, Any]
    found: list[tuple[str, str]]
    chosen: list[tuple[str, str]]
    warnings: list[str]


def _plan(found: Survey, place: Place, root: Path, presets: Path, weights: str | None) -> _Plan:
    target = choose_target(found)
    network = _network(weights) if weights else _brought(root, found.sample.sizes)
    images = choose_images(found.sample, pretrained=network is not None)
    judging = judge_with(target, found.opened.splits)
    split = choose_split(found, target, judging.fractions)
    recipe = choose_recipe(images, target, judging.rows["train"], network)
    cores = os.cpu_count() or 1
    values = values_of(presets, place, found.source, target, images, judging, split, recipe, cores)
    return _Plan(
        values,
        [*found_lines(found, target)],
        [*chosen_lines(values, images, judging, split, recipe)],
        [*warnings(found, target, judging, split, place), *_unused(root, network)],
    )


def _try_to_open(values: dict[str, Any], path: Path) -> None:
    """Whether the stage prepare will open the source with these params. Raises DataError."""
    with open_source(parse_section("data", values["data"], DataParams), path):
        pass


def _network(weights: str) -> str:
    """Raises ArtifactError for weights of no network that is known."""
    if weights == FETCHED:
        return USUAL_PRETRAINED
    # Here, because it imports torch, for seconds that nothing else needs.
    from pipeline.pretrained.network import network_of

    if found := network_of(Path(weights)):
        return found
    raise ArtifactError(
        f"{weights}: weights of no network that is known by their names; write params.yaml without "
        "--weights, set model.name and model.init, then `espalier weights`"
    )


def _brought(root: Path, sizes: list[tuple[int, int]]) -> str | None:
    """The network of the weights in data/init, if images are large enough for them to be of use."""
    if not (root / BROUGHT_WEIGHTS).exists() or not any(min(size) >= PHOTOGRAPH_SIDE for size in sizes):
        return None
    from pipeline.pretrained.network import network_of

    return network_of(root / BROUGHT_WEIGHTS)


def _unused(root: Path, network: str | None) -> list[str]:
    if network is not None or not (root / BROUGHT_WEIGHTS).exists():
        return []
    return [
        f"the weights in {BROUGHT_WEIGHTS.parent} are not used: they are of no network that is known, or all "
        f"images are smaller than {PHOTOGRAPH_SIDE} px"
    ]


def _bring(weights: str, root: Path, values: dict[str, Any]) -> str:
    from pipeline.pretrained.bring import bring

    return bring(weights, root, values)


def _columns(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [f"  {word:<10} {words}" for word, words in pairs]
