"""What a card says of each kind of problem, and which columns its answers have."""

import itertools

import pytest

from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.serving.serving import make_serving
from tests.support.problems import KIND
from tests.support.served_samples import HEADS, NOTES, SIZE, TRAITS

IMAGES = "images of 8 x 8 pixels, 1 channel,"


def test_the_purpose_names_what_is_answered() -> None:
    assert make_serving(KIND).purpose(IMAGES) == f"Classifies {IMAGES} into 3 classes: cat, dog, eel."
    assert make_serving(TRAITS).purpose(IMAGES) == (
        f'Says of {IMAGES} which of 3 labels each has, if any: a "wet", b, fürry, labels.'
    )
    assert make_serving(SIZE).purpose(IMAGES) == (
        f"Estimates from {IMAGES} a number, which was 2 to 30 in training."
    )
    assert make_serving(HEADS).purpose(IMAGES).split("\n") == [
        f"Gives {IMAGES} an answer of each head, in columns that begin with its name:",
        "- kind: Classifies them into 3 classes: cat, dog, eel.",
        "- size: Estimates from them a number, which was 2 to 30 in training.",
        '- traits: Says of them which of 3 labels each has, if any: a "wet", b, fürry, labels.',
    ]


def test_of_many_classes_the_first_are_listed() -> None:
    many = make_serving(ClassificationNotes(classes=[f"c{number}" for number in range(30)]))
    assert many.purpose("them").endswith(
        "into 30 classes: " + ", ".join(f"c{n}" for n in range(20)) + " and 10 more."
    )


def test_a_score_of_heads_says_what_goes_into_it() -> None:
    assert make_serving(HEADS).score == (
        "weighted mean of 3 heads; kind, weight 2: top-1 accuracy; size, weight 1: 1 less the error's share "
        "of the range 2 to 30, at least 0; traits, weight 1.5: mean F1 of an image's labels"
    )


def test_limits_of_heads_are_those_of_each() -> None:
    limits = make_serving(HEADS).limits
    for name, head in HEADS.heads.items():
        assert f"Head {name}: {make_serving(head.task).limits}" in limits


def test_columns_of_heads_never_clash() -> None:
    """head_a + "_x_y" and head_a_x + "_y" would be one name, if a column ended in another's."""
    columns = [name for notes in NOTES.values() for name in make_serving(notes).columns if notes is not HEADS]
    assert not [pair for pair in itertools.permutations(columns, 2) if pair[0].endswith(f"_{pair[1]}")]


@pytest.mark.parametrize("kind", NOTES)
def test_code_that_travels_is_there_once(kind: str) -> None:
    code = make_serving(NOTES[kind]).code
    assert len({path.name for path in code}) == len(code)
    assert all(path.is_file() for path in code)
