"""What answers are worth, and which are the same: all that judging a model asks of a kind of problem.

No torch here, so that comparing and registering do not wait for its import.
"""

from collections.abc import Sequence
from typing import Protocol

from pipeline.tasks.description.heads import HeadsNotes
from pipeline.tasks.description.params import TaskNotes
from pipeline.tasks.judging.arrays import Bools, Floats, Outputs, Targets
from pipeline.tasks.judging.heads import HeadsExaminer, one_examiner


class Examiner(Protocol):
    """Judges N answers at once; a score is of one sample, in 0..1, higher is better."""

    def score(self, outputs: Outputs, targets: Targets) -> Floats:
        """How right each answer is, (N,); the mean is the task's score."""

    def answers(self, outputs: Outputs) -> list[str]:
        """Each answer in words, as scores.csv and pictures show it."""

    def truths(self, targets: Targets) -> list[str]:
        """The right answers, in the same words."""

    def confidence(self, outputs: Outputs) -> Floats:
        """How sure each answer is, (N,) in 0..1."""

    def same(self, first: Sequence[str], second: Sequence[str]) -> Floats:
        """How far two models agree on each sample, (N,) in 0..1, from their answers in words."""

    def groups(self, targets: Targets) -> dict[str, Bools]:
        """Masks (N,) of samples for which a loss is stated apart: a class each, for example."""


def make_examiner(notes: TaskNotes) -> Examiner:
    return HeadsExaminer(notes) if isinstance(notes, HeadsNotes) else one_examiner(notes)
