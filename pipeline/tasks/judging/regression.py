"""How near: what answers of a number are worth. Letter: N samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.fields.field import LABEL
from pipeline.tasks.description.params import VALUE
from pipeline.tasks.description.regression import RegressionNotes
from pipeline.tasks.judging.arrays import Bools, Floats, Outputs, Targets

WORD_DIGITS = 6
"""Significant digits of a number in words."""


@dataclass(frozen=True)
class RegressionExaminer:
    """The score of an answer is 1 less its error as a share of the training split's range, at least 0."""

    notes: RegressionNotes
    target: str = LABEL
    output: str = VALUE

    def score(self, outputs: Outputs, targets: Targets) -> Floats:
        return self._nearness(self.numbers(outputs), self.actual(targets))

    def answers(self, outputs: Outputs) -> list[str]:
        return number_words(self.numbers(outputs))

    def truths(self, targets: Targets) -> list[str]:
        return number_words(self.actual(targets))

    def confidence(self, outputs: Outputs) -> Floats:
        """1 for all: a network that answers with one number does not say how sure it is."""
        return np.ones(len(outputs[self.output]))

    def same(self, first: Sequence[str], second: Sequence[str]) -> Floats:
        """1 less the difference as a share of the range, at least 0."""
        return self._nearness(np.array([*map(float, first)]), np.array([*map(float, second)]))

    def groups(self, targets: Targets) -> dict[str, Bools]:
        """Masks (N,) of the numbers below the mean of training and of the others: both occur there."""
        below, mean = self.actual(targets) < self.notes.mean, f"{self.notes.mean:.{WORD_DIGITS}g}"
        return {f"below {mean}": below, f"{mean} or more": ~below}

    def numbers(self, outputs: Outputs) -> Floats:
        """The answers in the target's unit, (N,)."""
        numbers: Floats = outputs[self.output][:, 0].astype(np.float64) * self.notes.std + self.notes.mean
        return numbers

    def actual(self, targets: Targets) -> Floats:
        return targets[self.target].astype(np.float64)

    def _nearness(self, first: Floats, second: Floats) -> Floats:
        nearness: Floats = np.maximum(0.0, 1 - np.abs(first - second) / (self.notes.high - self.notes.low))
        return nearness


def number_words(numbers: Floats) -> list[str]:
    """Numbers as tables and pictures show them."""
    return [f"{number:.{WORD_DIGITS}g}" for number in numbers.tolist()]
