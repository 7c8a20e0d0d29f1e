"""How well a test split can judge: its size, what a constant answer scores on it, and limits that follow."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import DataError
from pipeline.init.target import Target, names_in

WANTED = {"val": 200, "test": 400}
"""Rows of a split that judge well enough: 400 give a top-1 of 0.9 a standard error of 1.5 points."""
LEAST_FRACTION = 0.02
USUAL_FRACTION = {"val": 0.05, "test": 0.1}
LARGEST_FRACTION = {"val": 0.15, "test": 0.2}
MOST_JUDGING_ROWS = {"val": 5_000, "test": 10_000}
"""Rows of a split beyond which more are better spent on training."""
EXAMPLE_SCORE = 0.9
"""Top-1 whose standard error is told."""
CHANGED_BY_CHANCE = 0.05
"""Fraction of the test images whose score a compression may change both ways by chance alone."""
SURE = 2.0
"""Standard errors that are not taken for chance."""
FEW_IMAGES = 10
"""Test images of a class below which nothing can be said of it."""


@dataclass(frozen=True)
class Judging:
    """fractions: of splits that are carved out of train; 0 for one that the source has. rows: by split.
    groups: test images by class, for targets that have classes. constant: score of the best answer that is
    always the same. error: standard error of a score on the test split, at EXAMPLE_SCORE for classes.
    """

    fractions: dict[str, float]
    rows: dict[str, int]
    groups: dict[str, int]
    constant: float
    error: float

    @property
    def min_score(self) -> float:
        """More than a constant answer's, by a standard error: whoever passes has learnt something."""
        return min(0.99, _up(self.constant + self.error))

    @property
    def max_drop(self) -> float:
        """Largest loss against dense that may be chance, as a fraction."""
        return min(1.0, max(0.01, _up(SURE * math.sqrt(CHANGED_BY_CHANCE / self.rows["test"]))))

    @property
    def max_group_drop(self) -> float:
        """Largest loss of a class that may be chance, the class being the worst of several."""
        fewest = min(self.groups.values(), default=self.rows["test"])
        return min(1.0, max(0.1, _up((SURE + 1) * math.sqrt(2 * CHANGED_BY_CHANCE / max(1, fewest)))))

    @property
    def few(self) -> dict[str, int]:
        """Classes of too few test images to say anything of, the fewest first."""
        found = sorted(self.groups.items(), key=lambda pair: (pair[1], pair[0]))
        return {name: count for name, count in found if count < FEW_IMAGES}


def judge_with(target: Target, own: Sequence[str]) -> Judging:
    """own: splits that the source has.

    Raises DataError if there are too few rows for three splits.
    """
    held = {split: len(target.of(split)) for split in ("train", "val", "test")}
    carved = [split for split in ("val", "test") if split not in own]
    fractions = {split: _fraction(split, held["train"]) if split in carved else 0.0 for split in WANTED}
    rows = held | {split: max(1, round(held["train"] * fractions[split])) for split in carved}
    rows["train"] = held["train"] - sum(rows[split] for split in carved)
    if rows["train"] < 1 + len(carved):
        raise DataError(
            f"{len(target.values)} usable images are too few to train, validate and test on; add some"
        )
    share = 1.0 if "test" in own else fractions["test"]
    tested = target.of("test" if "test" in own else "train")
    counts = Counter(names_in(tested) if target.field != "number" else [])
    groups = {name: max(1, round(count * share)) for name, count in counts.items()}
    scores = constant_scores(target, tested)
    error = math.sqrt(EXAMPLE_SCORE * (1 - EXAMPLE_SCORE) / rows["test"])
    if target.field != "class":
        error = statistics.pstdev(scores) / math.sqrt(rows["test"])
    return Judging(fractions, rows, groups, statistics.fmean(scores), error)


def constant_scores(target: Target, values: Sequence[Any]) -> list[float]:
    """Score of each row if the answer is always the same, the best of such answers."""
    if target.field == "number":
        least, most = min(values), max(values)
        middle, width = statistics.median(values), (most - least) or 1.0
        return [1 - abs(value - middle) / width for value in values]
    if target.field == "class":
        most_frequent = Counter(values).most_common(1)[0][0]
        return [float(value == most_frequent) for value in values]
    frequent = [name for name, _ in Counter(name for row in values for name in set(row)).most_common()]
    answers = [set(frequent[:count]) for count in range(len(frequent) + 1)]
    return max(([_f1(set(row), answer) for row in values] for answer in answers), key=statistics.fmean)


def _f1(truth: set[str], answer: set[str]) -> float:
    """F1 of one image's labels; 1 if there are none, and none is answered."""
    total = len(truth) + len(answer)
    return 2 * len(truth & answer) / total if total else 1.0


def _fraction(split: str, rows: int) -> float:
    """Fraction of `rows` that judges well enough, within what training can spare."""
    usual = min(USUAL_FRACTION[split], max(LEAST_FRACTION, MOST_JUDGING_ROWS[split] / max(1, rows)))
    return round(min(LARGEST_FRACTION[split], max(usual, WANTED[split] / max(1, rows))), 3)


def _up(fraction: float) -> float:
    """Rounded up to a percent."""
    return math.ceil(round(fraction * 100, 6)) / 100
