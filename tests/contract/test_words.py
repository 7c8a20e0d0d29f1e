"""One public name has one meaning in the tree, a constant has its line, and docstrings are in plain words."""

from pathlib import Path

import pytest

from tests.support.words import joint_assignments, shared_names, word_faults

ROOT = Path(__file__).parents[2]
SHARED = {
    "main": "what `python -m` runs, in each file that is started so",
}
"""Names that several modules may define, with the reason. The list only shrinks."""


def test_a_public_name_is_defined_in_one_module() -> None:
    found = shared_names(ROOT)
    assert {name: found[name] for name in found.keys() - SHARED} == {}


def test_no_exception_is_without_need() -> None:
    assert SHARED.keys() - shared_names(ROOT).keys() == set()


def test_a_constant_has_a_line_of_its_own() -> None:
    assert joint_assignments(ROOT) == []


def test_docstrings_are_in_plain_words() -> None:
    assert word_faults(ROOT) == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "pipeline" / "models").mkdir(parents=True)
    (tmp_path / "pipeline" / "models" / "cost.py").write_text("class Cost:\n    pass\n\nLIMIT = 3\n")
    return tmp_path


@pytest.mark.parametrize(
    ("code", "shared"),
    [
        ("class Cost:\n    pass\n", {"Cost"}),
        ("def Cost() -> None:\n    pass\n", {"Cost"}),
        ("from pipeline.models.cost import Cost\n", set()),
        ("_LIMIT = 3\n", set()),
        ("FIRST, LIMIT = 1, 3\n", {"LIMIT"}),
        ("LIMIT: int = 3\n", {"LIMIT"}),
    ],
)
def test_a_name_defined_twice_is_found(tree: Path, code: str, shared: set[str]) -> None:
    (tree / "pipeline" / "errors.py").write_text(code)
    assert shared_names(tree).keys() == shared


def test_constants_that_share_a_line_are_found(tree: Path) -> None:
    (tree / "pipeline" / "errors.py").write_text("GAP, MOST = 0.01, 6\nEACH = OTHER = 1\nPAIR = (1, 2)\n")
    assert joint_assignments(tree) == ["pipeline/errors.py:1", "pipeline/errors.py:2"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Of the training, after its nodes are there.", "no noun or verb"),
        ("Those that are asked for.", "no noun or verb"),
        ("The same, of a bucket.", "no noun or verb"),
        ("As Split.batch, on a device.", "no noun or verb"),
        ("Read a table. Raises DataError\n    where a column is missing.", "where, for if"),
        ("The digest, None where there is no file.", "where, for if"),
        ("An order that hangs on the place of an element.", "hangs on, for depends on"),
    ],
)
def test_a_docstring_in_other_words_is_found(tree: Path, text: str, fault: str) -> None:
    (tree / "pipeline" / "errors.py").write_text(f'def read() -> None:\n    """{text}"""\n')
    assert [found.split(": ")[1] for found in word_faults(tree)] == [fault]


@pytest.mark.parametrize(
    "text",
    [
        "Placement of the training, once its nodes are up.",
        "Where an evaluation goes; None if there is none.",
        "Raises DataError if a column is missing (a run resumes where it stopped).",
    ],
)
def test_plain_words_pass(tree: Path, text: str) -> None:
    (tree / "pipeline" / "errors.py").write_text(f'LIMIT_S = 3\n"""{text}"""\n')
    assert word_faults(tree) == []
