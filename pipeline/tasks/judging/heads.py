"""Several problems at once: what the answers of all heads are worth together. Letter: N samples."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.description.heads import HeadsNotes, OneNotes
from pipeline.tasks.description.multilabel import MultilabelNotes
from pipeline.tasks.description.regression import RegressionNotes
from pipeline.tasks.judging.arrays import Bools, Floats, Outputs, Targets
from pipeline.tasks.judging.classification import ClassificationExaminer
from pipeline.tasks.judging.multilabel import MultilabelExaminer
from pipeline.tasks.judging.regression import RegressionExaminer

OneExaminer: TypeAlias = ClassificationExaminer | MultilabelExaminer | RegressionExaminer
"""Examiner of one problem, that stands alone or is a head."""


def one_examiner(notes: OneNotes) -> OneExaminer:
    """Examiner of a problem that stands alone."""
    match notes:
        case ClassificationNotes():
            return ClassificationExaminer(notes)
        case MultilabelNotes():
            return MultilabelExaminer(notes)
        case RegressionNotes():
            return RegressionExaminer(notes)


@dataclass(frozen=True)
class HeadsExaminer:
    """A score is the mean of the heads' by their weights; words are a JSON object of the heads' words."""

    notes: HeadsNotes

    @property
    def examiners(self) -> dict[str, OneExaminer]:
        """Examiners by head, which is also the name of its target and of its output."""
        return {
            name: replace(one_examiner(head.task), target=name, output=name)
            for name, head in self.notes.heads.items()
        }

    def score(self, outputs: Outputs, targets: Targets) -> Floats:
        return self._mean(lambda _, examiner: examiner.score(outputs, targets))

    def answers(self, outputs: Outputs) -> list[str]:
        return _joined({name: each.answers(outputs) for name, each in self.examiners.items()})

    def truths(self, targets: Targets) -> list[str]:
        return _joined({name: each.truths(targets) for name, each in self.examiners.items()})

    def confidence(self, outputs: Outputs) -> Floats:
        """The mean of the heads', by their weights."""
        return self._mean(lambda _, examiner: examiner.confidence(outputs))

    def same(self, first: Sequence[str], second: Sequence[str]) -> Floats:
        one, other = ([json.loads(words) for words in each] for each in (first, second))
        return self._mean(
            lambda name, examiner: examiner.same([each[name] for each in one], [each[name] for each in other])
        )

    def groups(self, targets: Targets) -> dict[str, Bools]:
        """The masks (N,) of all heads, as "head: group"."""
        return {
            f"{name}: {group}": rows_N
            for name, examiner in self.examiners.items()
            for group, rows_N in examiner.groups(targets).items()
        }

    def _mean(self, each: Callable[[str, OneExaminer], Floats]) -> Floats:
        """Mean over the heads by their weights, (N,); added one by one above and below, so never above 1."""
        weights = [head.weight for head in self.notes.heads.values()]
        found = [each(name, examiner) for name, examiner in self.examiners.items()]
        total = sum((weight * value for weight, value in zip(weights, found, strict=True)), np.zeros(1))
        return total / sum(weights)


def _joined(words: Mapping[str, list[str]]) -> list[str]:
    """A JSON object for each sample, from the words for all samples by head."""
    rows = zip(*words.values(), strict=True)
    return [json.dumps(dict(zip(words, row, strict=True)), ensure_ascii=False) for row in rows]
