"""Targets: what a row's cells become, and which rows, columns and classes are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from sklearn.datasets import load_digits

from pipeline.data.fields.any_classes import ClassesField
from pipeline.data.fields.number import NumberField
from pipeline.data.intake.prepare import prepare
from pipeline.data.intake.targets.any_classes import ClassesTarget
from pipeline.data.intake.targets.naming import Label
from pipeline.data.intake.targets.number import NumberTarget
from pipeline.data.intake.targets.one_class import ClassTarget
from pipeline.data.prepared.manifest import Manifest
from pipeline.data.prepared.reader import Split
from pipeline.errors import DataError
from pipeline.images.defect import Defect
from tests.support.data_samples import data_params, png, write_table

ONE = ClassTarget(field="class", column="label")
LIST = ClassesTarget(field="classes", columns=["tags"])
FLAGS = ClassesTarget(field="classes", columns=["red", "round"])
NUMBER = NumberTarget(field="number", column="count")
KINDS: dict[str, Any] = {
    "tags": {"field": "classes", "columns": ["tags"]},
    "flags": {"field": "classes", "columns": ["red", "round"]},
    "count": {"field": "number", "column": "count"},
}


def table(folder: Path, rows: int = 60, **changes: Any) -> Path:
    columns: dict[str, Any] = {
        "tags": pa.array([["red"] * (row % 2) + ["round"] * (row % 3 == 0) for row in range(rows)]),
        "red": pa.array([row % 2 for row in range(rows)]),
        "round": pa.array([row % 3 == 0 for row in range(rows)]),
        "count": pa.array([row / 2 for row in range(rows)]),
    }
    labels = [row % 2 for row in range(rows)]
    return write_table(folder / "t.parquet", [png(row) for row in range(rows)], labels, columns | changes)


def prepared(folder: Path, source: Path, **changes: Any) -> Manifest:
    return prepare(data_params(targets=KINDS, **changes), source, folder / "prepared", folder / "card")


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (None, "null label"),
        ("", "null label"),
        (-1, "label out of range"),
        (2, "label out of range"),
        ("cow", "label out of range"),
        ("caf\udce9", "unreadable label"),
    ],
)
def test_a_label_that_names_no_class(label: Label | None, reason: str) -> None:
    with pytest.raises(Defect) as found:
        ONE.check((label,), ["cat", "dog"])
    assert found.value.reason == reason


def test_without_known_classes_any_label_is_one() -> None:
    assert [ONE.check((label,), None) for label in (0, 99, "cow")] == [0, 99, "cow"]


def test_integers_name_their_classes() -> None:
    settled = ONE.settle(pa.array([2, 0, 1, 2]), None)
    assert settled.classes == ["0", "1", "2"]
    assert settled.values.tolist() == [2, 0, 1, 2]


def test_names_are_sorted_or_follow_the_list_given() -> None:
    assert ONE.settle(pa.array(["dog", "cat"]), None).classes == ["cat", "dog"]
    assert ONE.settle(pa.array(["dog", "cat"]), ["dog", "cow", "cat"]).values.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 1, 1], "all 3 usable rows are of one class, 1|label 0 has no image"),
        ([0, 0], "all 2 usable rows are of one class, 0"),
        (["cat", "cat"], "one class, 'cat'"),
        ([0, 1, 255], "integer labels reach 255, but label 2 has no image"),
        ([0, 10**12], "integer labels reach 1000000000000, but label 1 has no image"),
    ],
)
def test_classes_that_cannot_be_told_apart(labels: list[Label], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ONE.settle(pa.array(labels), None)


def test_lists_and_columns_say_the_same() -> None:
    lists = LIST.settle(
        pa.array([LIST.check((cell,), None) for cell in (["round", "red"], [], ["red"])]), None
    )
    flags = FLAGS.settle(
        pa.array([FLAGS.check(cells, None) for cells in ((1, True), (0, False), (1.0, 0))]), None
    )
    assert lists.classes == flags.classes == ["red", "round"]
    assert lists.values.tolist() == flags.values.tolist() == [[1, 1], [0, 0], [1, 0]]


@pytest.mark.parametrize(
    ("target", "cells", "reason", "detail"),
    [
        (FLAGS, (1, 2), "label out of range", "column 'round' holds 2; it must be 0 or 1"),
        (FLAGS, (float("nan"), 0), "label out of range", "column 'red' holds nan; it must be 0 or 1"),
        (FLAGS, (1, None), "null label", "column 'round' is null; a row without a class has 0, or []"),
        (LIST, (None,), "null label", "column 'tags' is null; a row without a class has 0, or []"),
        (
            LIST,
            (["red", "bleu"],),
            "label out of range",
            "in a list in 'tags': label 'bleu' is not a known class",
        ),
        (LIST, ([None],), "null label", "in a list in 'tags': the label is null or empty"),
        (NUMBER, (float("nan"),), "no finite number", "column 'count' holds nan"),
        (NUMBER, (None,), "null number", "column 'count' is null"),
    ],
)
def test_cells_that_are_no_answer(target: Any, cells: tuple[Any, ...], reason: str, detail: str) -> None:
    with pytest.raises(Defect) as found:
        target.check(cells, ["red", "round"])
    assert (found.value.reason, found.value.detail) == (reason, detail)


def test_every_kind_arrives_with_its_row(tmp_path: Path) -> None:
    manifest = prepared(tmp_path, table(tmp_path))
    rows = 0
    for name, info in manifest.splits.items():
        split = Split.open(tmp_path / "prepared", name)
        tags, flags, count = (split.targets[target].numpy() for target in KINDS)
        assert tags.tolist() == flags.tolist()
        number = (count * 2).astype(int)
        assert tags[:, 0].tolist() == (number % 2).tolist()
        assert tags[:, 1].tolist() == (number % 3 == 0).tolist()
        assert info.counts["tags"] == tags.sum(axis=0, dtype=int).tolist()
        assert sum(info.counts["count"]) == info.rows == len(split)
        rows += info.rows
    assert rows == 60


def test_fields_describe_themselves(tmp_path: Path) -> None:
    fields = prepared(tmp_path, table(tmp_path)).targets
    train = Split.open(tmp_path / "prepared", "train").targets["count"].numpy()
    number = fields["count"]
    assert isinstance(number, NumberField)
    assert (number.low, number.high) == (train.min(), train.max())
    assert [number.mean, number.std] == pytest.approx([train.mean(), train.std()])
    assert fields["tags"] == ClassesField(classes=["red", "round"])
    card = (tmp_path / "card/card.md").read_text()
    assert "- tags: any of 2 classes\n" in card
    assert f"- count: a number, in train {number.low:g} to {number.high:g}\n" in card


def test_a_rare_class_comes_into_every_split(tmp_path: Path) -> None:
    tags = pa.array([["common"] + ["rare"] * (row % 20 == 0) for row in range(120)])
    source = table(tmp_path, 120, tags=tags)
    manifest = prepared(tmp_path, source)
    assert min(info.counts["tags"][1] for info in manifest.splits.values()) >= 1


def test_defects_name_file_and_row(tmp_path: Path) -> None:
    count = pa.array([*map(float, range(59)), float("nan")])
    source = table(tmp_path, count=count)
    with pytest.raises(DataError, match=r"t.parquet row 59: no finite number: column 'count' holds nan"):
        prepared(tmp_path, source)
    manifest = prepared(tmp_path, source, max_quarantined=0.1)
    assert manifest.quarantined == {"no finite number": 1}


def test_a_name_in_a_list_that_is_no_utf8_is_a_defect(tmp_path: Path) -> None:
    names = pa.array([b"red", b"caf\xe9"] * 30).view(pa.string())
    lists = pa.ListArray.from_arrays(pa.array(range(61), pa.int32()), names)
    with pytest.raises(
        DataError, match=r"row 1: unreadable label: in a list in 'tags': label 'caf\\udce9' is"
    ):
        prepared(tmp_path, table(tmp_path, tags=lists))


def test_a_column_of_a_class_that_is_not_known_is_a_defect(tmp_path: Path) -> None:
    source = table(tmp_path / "in").rename(tmp_path / "in/train.parquet").parent
    (source / "classes.json").write_text('{"flags": ["red", "square"]}')
    with pytest.raises(
        DataError, match=r"row 0: label out of range: a column of 0 and 1: label 'round' is not"
    ):
        prepared(tmp_path, source)


def test_a_column_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"column 'red' is named twice; name each class once"):
        ClassesTarget(field="classes", columns=["red", "round", "red"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": pa.array(["3"] * 60)}, r"t.parquet: column 'count' holds names; it must hold numbers"),
        (
            {"red": pa.array(["yes"] * 60)},
            r"column 'red' holds names; it must hold lists of classes, or",
        ),
        (
            {"tags": pa.array([[0.5]] * 60)},
            r"column 'tags' holds list<.*double>; it must hold lists of classes",
        ),
        ({"count": pa.array([2.5] * 60)}, r"column 'count' is 2.5 in all usable rows of train"),
        ({"tags": pa.array([[]] * 60, pa.list_(pa.string()))}, r"no usable row has a class in tags"),
        ({"tags": pa.array([[0, 2]] * 60)}, r"integer labels reach 2, but label 1 has no image"),
        ({"red": pa.array([0] * 60)}, r"class 'red' has no usable image in train"),
    ],
)
def test_columns_that_teach_nothing(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, table(tmp_path, **changes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('["red", "round"]', r"classes.json: a list, but 2 targets have classes; write \{\"target\""),
        ('{"colours": ["red"]}', r"classes.json: no target 'colours' with classes; known: flags, tags"),
        ('{"tags": ["red", "red"]}', r"classes.json: class 'red' is listed twice"),
    ],
)
def test_class_names_of_several_targets(tmp_path: Path, text: str, message: str) -> None:
    source = table(tmp_path / "in").rename(tmp_path / "in/train.parquet").parent
    (source / "classes.json").write_text(text)
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, source)


def test_class_names_by_target_are_the_known_ones(tmp_path: Path) -> None:
    source = table(tmp_path / "in").rename(tmp_path / "in/train.parquet").parent
    (source / "classes.json").write_text('{"tags": ["round", "red"]}')
    assert prepared(tmp_path, source).targets["tags"].groups == ["round", "red"]


def test_digits_can_be_numbers(tmp_path: Path) -> None:
    targets = {"label": {"field": "number", "column": "label"}}
    params = data_params(
        source={"kind": "digits", "path": "data/raw/README.md"},
        targets=targets,
        height=8,
        width=8,
        channels=1,
    )
    prepare(params, Path("unused"), tmp_path / "prepared", tmp_path / "card")
    found = [Split.open(tmp_path / "prepared", name).targets["label"] for name in ("train", "val", "test")]
    assert (
        np.bincount(np.concatenate(found).astype(int)).tolist() == np.bincount(load_digits().target).tolist()
    )
