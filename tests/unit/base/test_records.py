"""Digests that go with what a stage leaves: whatever does not fit them is named, with the stage that makes it
again.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.base.records import SEAL_NAME, Sealed, sealed_json, unsealed, write_seal
from pipeline.errors import ArtifactError

RECORD = {"top1": 0.5, "batches": {64: 1e-5, 9: 2}, "names": ["één", "two"]}


def test_a_record_comes_back_and_equal_records_give_equal_text() -> None:
    text = sealed_json(RECORD)
    assert unsealed(text.encode()) == {"top1": 0.5, "batches": {"64": 1e-5, "9": 2}, "names": ["één", "two"]}
    assert text == sealed_json(dict(reversed(RECORD.items())))


def test_every_flipped_bit_of_a_record_is_seen_or_changes_nothing() -> None:
    content = sealed_json(RECORD).encode()
    for place in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        try:
            found = unsealed(bytes(damaged))
        except ValueError:
            continue
        assert found == unsealed(content)  # 1E-05 is 1e-05


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[1]", "not a record"),
        (b'{"a": 1}', "has no seal"),
    ],
)
def test_what_is_no_sealed_record_is_told_apart(content: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unsealed(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "below").mkdir()
    (tmp_path / "a.csv").write_text("a")
    (tmp_path / "below/b.json").write_text("b")
    write_seal(tmp_path, ["a.csv", "below/b.json"], {"model.onnx": "1" * 64})
    return tmp_path


def test_sealed_files_are_handed_out(folder: Path) -> None:
    sealed = Sealed(folder / SEAL_NAME, "compare")
    assert sealed.file("below/b.json") == folder / "below/b.json"
    sealed.demand_of("model.onnx", "1" * 64, Path("x"))
    assert sealed.digest("a.csv") == json.loads((folder / SEAL_NAME).read_text())["files"]["a.csv"]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda folder: (folder / "a.csv").write_text("b"),
            "a.csv: not what .*seal.json sealed: it is damaged, exchanged or",
        ),
        (lambda folder: (folder / "a.csv").write_text(""), "a.csv: not what .*seal.json sealed"),
        (lambda folder: (folder / "a.csv").unlink(), r"a.csv: cannot be read \(No such file"),
        (lambda folder: (folder / SEAL_NAME).unlink(), r"seal.json: cannot be read \(No such file"),
        (lambda folder: (folder / SEAL_NAME).write_text("{}"), "seal.json: has no seal"),
        (lambda folder: (folder / SEAL_NAME).write_text(sealed_json({"files": 1})), "seal.json: not a seal"),
        (
            lambda folder: write_seal(folder, [], {"model.onnx": "1" * 64}),
            "a.csv: not what .*seal.json sealed",
        ),
        (
            lambda folder: write_seal(folder, ["a.csv"], {"model.onnx": "2" * 64}),
            "seal.json: is of another model.onnx than x",
        ),
        (lambda folder: write_seal(folder, ["a.csv"], {}), "seal.json: is of another model.onnx than x"),
    ],
)
def test_whatever_does_not_fit_is_named_with_the_stage_that_makes_it_again(
    folder: Path, damage: Callable[[Path], object], says: str
) -> None:
    damage(folder)
    with pytest.raises(
        ArtifactError,
        match=rf"{says}.*; run `espalier verify --mend`, .*`dvc repro -f -s evaluate@dense` makes",
    ):
        sealed = Sealed(folder / SEAL_NAME, "evaluate@dense")
        sealed.file("a.csv")
        sealed.demand_of("model.onnx", "1" * 64, Path("x"))


def test_a_file_that_was_never_sealed_has_no_digest(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"seal\.json: seals no c\.csv; run `espalier verify"):
        Sealed(folder / SEAL_NAME, "compare").digest("c.csv")
