"""What the answers of several heads are worth together: the mean of what each is worth, by weight."""

import json

import numpy as np
import pytest

from pipeline.tasks.description.heads import HeadNotes, HeadsNotes
from pipeline.tasks.judging.classification import ClassificationExaminer
from pipeline.tasks.judging.examiner import make_examiner
from pipeline.tasks.judging.heads import HeadsExaminer, one_examiner
from pipeline.tasks.judging.multilabel import MultilabelExaminer
from pipeline.tasks.judging.regression import RegressionExaminer
from tests.support.problems import COUNT, HEADS, KIND, SEEN, answers

OUTPUTS, TARGETS = answers(50)
EXAMINER = HeadsExaminer(HEADS)
KINDS = ClassificationExaminer(KIND, "kind", "kind")
SETS = MultilabelExaminer(SEEN, "seen", "seen")
NUMBERS = RegressionExaminer(COUNT, "count", "count")
TOTAL = 1.0 + 0.5 + 0.2
"""Sum of the weights."""


def test_each_head_reads_the_target_and_the_output_of_its_name() -> None:
    assert EXAMINER.examiners == {"kind": KINDS, "seen": SETS, "count": NUMBERS}


def test_scores_and_confidence_are_means_by_weight() -> None:
    scores = [each.score(OUTPUTS, TARGETS) for each in (KINDS, SETS, NUMBERS)]
    expected = (1.0 * scores[0] + 0.5 * scores[1] + 0.2 * scores[2]) / TOTAL
    assert EXAMINER.score(OUTPUTS, TARGETS) == pytest.approx(expected)
    sure = (KINDS.confidence(OUTPUTS) + 0.5 * SETS.confidence(OUTPUTS) + 0.2) / TOTAL
    assert EXAMINER.confidence(OUTPUTS) == pytest.approx(sure)


@pytest.mark.parametrize("weights", [[0.1] * 20, [0.3], [0.7, 0.1, 1e-6, 1e6, 0.3]])
def test_a_right_answer_of_all_heads_scores_one_to_the_bit(weights: list[float]) -> None:
    heads = {f"h{number}": HeadNotes(weight=weight, task=KIND) for number, weight in enumerate(weights)}
    outputs = {name: np.eye(3, dtype=np.float32) for name in heads}
    targets = {name: np.arange(3) for name in heads}
    assert HeadsExaminer(HeadsNotes(heads=heads)).score(outputs, targets).tolist() == [1, 1, 1]


def test_words_are_an_object_of_the_words_of_each_head() -> None:
    found = [json.loads(words) for words in EXAMINER.answers(OUTPUTS)]
    assert [each["kind"] for each in found] == KINDS.answers(OUTPUTS)
    assert [each["seen"] for each in found] == SETS.answers(OUTPUTS)
    assert [each["count"] for each in found] == NUMBERS.answers(OUTPUTS)
    assert list(json.loads(EXAMINER.truths(TARGETS)[0])) == ["kind", "seen", "count"]


def test_two_models_agree_by_weight() -> None:
    first, second = EXAMINER.answers(OUTPUTS), EXAMINER.truths(TARGETS)
    parts = [each.same(each.answers(OUTPUTS), each.truths(TARGETS)) for each in (KINDS, SETS, NUMBERS)]
    expected = (parts[0] + 0.5 * parts[1] + 0.2 * parts[2]) / TOTAL
    assert EXAMINER.same(first, second) == pytest.approx(expected)
    assert EXAMINER.same(first, first).tolist() == [1] * 50


def test_the_groups_are_those_of_all_heads() -> None:
    found = EXAMINER.groups(TARGETS)
    assert list(found)[:4] == ["kind: cat", "kind: dog", "kind: eel", "seen: sun"]
    assert list(found)[-1] == "count: 10 or more"
    assert np.array_equal(found["seen: sea"], TARGETS["seen"][:, 1] == 1)


def test_notes_decide_the_examiner() -> None:
    assert make_examiner(HEADS) == EXAMINER
    for notes, kind in ((KIND, KINDS), (SEEN, SETS), (COUNT, NUMBERS)):
        assert make_examiner(notes) == one_examiner(notes)
        assert type(one_examiner(notes)) is type(kind)
