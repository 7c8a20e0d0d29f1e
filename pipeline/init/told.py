"""What `espalier init` says: what it found, what it chose and why, and what to look at."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.data.survey.survey import Survey
from pipeline.errors import listed
from pipeline.init.images import ImageChoice
from pipeline.init.judging import EXAMPLE_SCORE, FEW_IMAGES, Judging
from pipeline.init.place import Place
from pipeline.init.recipe import RecipeChoice
from pipeline.init.split import SplitChoice
from pipeline.init.target import Target

CLASSES_SHOWN = 8
ODD_SHOWN = 3
LOPSIDED = 10
"""Times as many images of one class as of another from which on that is told."""
NEEDED = 3
"""Images of a class: one each for train, val and test."""


def found_lines(found: Survey, target: Target) -> Iterator[tuple[str, str]]:
    """What is there: a word, and the words that belong to it."""
    left_out = "".join(f"; {count:,} {reason}" for reason, count in found.opened.left_out.items())
    yield "source", f"{found.source['kind']}: {found.offer.why}{left_out}"
    own = Counter(found.rows.splits)
    rows = ", ".join(f"{own[split]:,} {split}" for split in found.opened.splits)
    yield "rows", rows if len(own) > 1 else f"{len(found.rows.splits):,}, without splits of their own"
    yield "learns", _learns(target)
    if target.field != "number":
        counts = Counter(target.names)
        shown = [f"{name} {count:,}" for name, count in sorted(counts.items())]
        yield f"{len(counts)} classes", listed(shown, CLASSES_SHOWN)
    yield "images", _images(found)


def chosen_lines(
    values: Mapping[str, Any], images: ImageChoice, judging: Judging, split: SplitChoice, recipe: RecipeChoice
) -> Iterator[tuple[str, str]]:
    """What params.yaml says now."""
    data, model, train, register = (values[name] for name in ("data", "model", "train", "register"))
    resize = data["resize"]["rule"]
    yield "size", f"{data['height']} x {data['width']} x {data['channels']} ({resize}): {images.why}"
    start = "from the weights in data/init" if model["init"] == "file" else "from random weights"
    yield "network", f"{model['name']}, {start}, as preset {recipe.preset!r}"
    yield (
        "recipe",
        f"{train['epochs']} epochs, batch {train['global_batch_size']}, {train['optimizer']['name']} "
        f"lr {train['optimizer']['lr']:g}; {'; '.join(recipe.why)}",
    )
    about = "about " if split.why else ""
    rows = ", ".join(f"{count:,} {name}" for name, count in judging.rows.items())
    yield "splits", f"{about}{rows}{'; ' if split.why else ''}{split.why}"
    yield (
        "gates",
        f"score >= {register['min_score']:g} (an answer that is always the same: {judging.constant:.3f}), at "
        f"most {register['max_drop']:g} less than dense",
    )


def warnings(
    found: Survey, target: Target, judging: Judging, split: SplitChoice, place: Place
) -> Iterator[str]:
    """What to look at before a training."""
    yield _how_sure(target, judging)
    counts = Counter(target.names)
    if scarce := [f"{name!r} ({count})" for name, count in counts.items() if count < NEEDED]:
        yield (
            f"class {listed(scarce, ODD_SHOWN)}: too few images for train, val and test; add some, or take "
            "it out"
        )
    if judging.few:
        shown = [f"{name} {count}" for name, count in judging.few.items()]
        yield (
            f"{len(shown)} classes have fewer than {FEW_IMAGES} test images, too few to judge them: "
            f"{listed(shown, CLASSES_SHOWN)}"
        )
    if counts and max(counts.values()) >= LOPSIDED * min(counts.values()):
        yield "classes are of very unequal size; `class_weights: balanced` in task makes them count alike"
    if target.missing:
        yield f"{target.missing:,} rows without a label will be quarantined"
    if found.sample.odd:
        shown = [f"{file} ({reason})" for file, reason in found.sample.odd]
        yield (
            f"{len(shown)} of {found.sample.looked_at:,} images looked at cannot be used; the first: "
            f"{listed(shown, ODD_SHOWN)}; `data.limits` says how many may be left out"
        )
    if not split.why and any(judging.fractions.values()):
        yield (
            "photographs of one person, thing or scene in several splits make a model look better than it "
            "is; if there are such, data.split keeps them together (by group, runs or time)"
        )
    if place.is_outside:
        yield (
            f"{place.written} lies outside of the project: no other machine finds it, and `espalier submit` "
            "cannot bring it; copy it below data/raw and `dvc add` it there for that"
        )


def _learns(target: Target) -> str:
    words = {"class": "one of several classes", "classes": "any of several classes", "number": "a number"}
    columns = target.section.get("column") or listed(target.section["columns"], CLASSES_SHOWN)
    return f"{words[target.field]}, from column {columns} ({target.why})"


def _images(found: Survey) -> str:
    sample = found.sample
    usual, count = Counter(sample.sizes).most_common(1)[0]
    size = f"{usual[0]} x {usual[1]} px"
    if count < len(sample.sizes):
        least, most = min(map(min, sample.sizes)), max(map(max, sample.sizes))
        size += f" mostly ({count:,} of {len(sample.sizes):,} looked at), sides from {least} to {most}"
    modes = ", ".join(f"{mode} {number:,}" for mode, number in sample.modes.most_common())
    return f"{size}; {modes}{'' if sample.coloured else ', all grey'}"


def _how_sure(target: Target, judging: Judging) -> str:
    tested, points = judging.rows["test"], 100 * judging.error
    if target.field == "class":
        return (
            f"{tested:,} test images: a top-1 of {EXAMPLE_SCORE:g} has a standard error of {points:.1f} "
            f"points, so differences below {2 * points:.1f} may be chance"
        )
    return f"{tested:,} test images: a score has a standard error of about {points:.1f} points"
