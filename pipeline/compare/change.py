"""What a step changed, from the answers before and after it to the same images.

Letters: N samples, K classes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.compare.records import Change, NamedChange
from pipeline.evaluate.metrics import FRACTION_DIGITS, Ints

Bools = npt.NDArray[np.bool_]
Z = 1.959964
"""Quantile of the standard normal distribution for 95 %."""


@dataclass(frozen=True)
class Pair:
    """What two models answered to the same images, all (N,). actual and predicted are class numbers."""

    actual: Ints
    before: Ints
    now: Ints

    @property
    def was_right(self) -> Bools:
        right: Bools = self.before == self.actual
        return right

    @property
    def is_right(self) -> Bools:
        right: Bools = self.now == self.actual
        return right

    @property
    def lost(self) -> Bools:
        return self.was_right & ~self.is_right

    @property
    def gained(self) -> Bools:
        return self.is_right & ~self.was_right

    @property
    def swapped(self) -> Bools:
        """Wrong before, and wrong now in another way."""
        changed: Bools = self.before != self.now
        return changed & ~self.was_right & ~self.is_right

    @property
    def agreement(self) -> float:
        return float((self.before == self.now).mean())

    def change(self, rows: Bools | None = None) -> Change:
        """Change of accuracy on the rows of a mask (N,), on all rows without one."""
        chosen = np.ones(len(self.actual), np.bool_) if rows is None else rows
        images, lost, gained = (int((chosen & which).sum()) for which in (chosen, self.lost, self.gained))
        low, high = paired_interval(lost, gained, images)
        before = int((chosen & self.was_right).sum())
        return Change(
            images=images,
            before=round(before / images, FRACTION_DIGITS),
            now=round((before - lost + gained) / images, FRACTION_DIGITS),
            change=round((gained - lost) / images, FRACTION_DIGITS),
            low=round(low, FRACTION_DIGITS),
            high=round(high, FRACTION_DIGITS),
        )

    def changes(self, groups: dict[str, Bools]) -> list[NamedChange]:
        """Change in each group that has an image, the greatest loss first, ties as they come."""
        found = [
            NamedChange(name=name, **self.change(rows).model_dump())
            for name, rows in groups.items()
            if rows.any()
        ]
        return sorted(found, key=lambda each: each.change)


def paired_interval(lost: int, gained: int, images: int) -> tuple[float, float]:
    """95 % confidence interval of the change of an accuracy, (gained - lost) / images, on the same images.

    Wald's with Laplace's adjustment (Bonett & Price 2012), which Fagerland et al. (Statistics in Medicine 33,
    2014) recommend: a closed form that stays wide if few images differ. Of 36 images of which none changed it
    is -0.073 to 0.073.
    """
    down, up = (lost + 1) / (images + 2), (gained + 1) / (images + 2)
    half = Z * float(np.sqrt((down + up - (up - down) ** 2) / (images + 2)))
    return max(-1.0, up - down - half), min(1.0, up - down + half)


def by_class(actual_N: Ints, classes: list[str]) -> dict[str, Bools]:
    """A mask (N,) for each class."""
    return {name: actual_N == label for label, name in enumerate(classes)}
