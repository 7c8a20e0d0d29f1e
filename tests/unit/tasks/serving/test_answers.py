"""Columns that each kind of problem answers with, on numbers small enough to check by hand."""

import json

import numpy as np
import pytest

from pipeline.tasks.serving.classification_answer import classification_answer
from pipeline.tasks.serving.multilabel_answer import multilabel_answer
from pipeline.tasks.serving.regression_answer import regression_answer
from tests.support.problems import KIND
from tests.support.served_samples import SIZE, TRAITS

HUGE = np.array([[-1e4, 0, 1e4]], np.float32)


def test_a_class_its_index_and_how_probable_it_is() -> None:
    logits = np.array([[2, 1, 0], [0, 3, 0], [1, 1, 0]], np.float32)
    found = classification_answer(logits, KIND.model_dump())
    assert found["label"] == ["cat", "dog", "cat"]
    assert found["class_index"].tolist() == [0, 1, 0]
    likely = [np.exp(2) / (np.exp(2) + np.e + 1), np.exp(3) / (np.exp(3) + 2), np.e / (2 * np.e + 1)]
    assert found["probability"].tolist() == pytest.approx(likely, rel=1e-6)


def test_labels_from_their_thresholds_on_and_all_probabilities_as_json() -> None:
    at_nine = np.log(9)  # of probability 0.9
    logits = np.array([[0, at_nine + 1e-3, -20], [-1e-3, at_nine - 1e-3, 1]], np.float32)
    found = multilabel_answer(logits, TRAITS.model_dump())
    wet, furry, always = TRAITS.classes
    assert [json.loads(labels) for labels in found["labels"]] == [[wet, furry, always], [always]]
    assert "fürry" in found["labels"][0]
    first, second = (json.loads(probabilities) for probabilities in found["probabilities"])
    assert first == {wet: 0.5, furry: 0.90009, always: 0.0}
    assert second == {wet: 0.49975, furry: 0.89991, always: 0.731059}


def test_a_row_may_have_no_label() -> None:
    notes = TRAITS.model_copy(update={"thresholds": [0.5, 0.5, 0.5]}).model_dump()
    assert multilabel_answer(np.full((1, 3), -1, np.float32), notes)["labels"] == ["[]"]


def test_a_number_in_the_unit_of_its_target() -> None:
    found = regression_answer(np.array([[0], [1], [-2.5]], np.float32), SIZE.model_dump())
    assert found["value"].tolist() == [12.5, 15.5, 5.0]
    assert found["value"].dtype == np.float64


def test_logits_of_any_size_overflow_nothing() -> None:
    found = multilabel_answer(HUGE, TRAITS.model_dump())
    assert list(json.loads(found["probabilities"][0]).values()) == [0.0, 0.5, 1.0]
    assert classification_answer(HUGE, KIND.model_dump())["probability"].tolist() == [1.0]
