"""What every source is checked for before its rows: classes.json, columns, and a digest of the content."""

from pathlib import Path

from pipeline.data.intake.opening import open_source
from pipeline.data.intake.source import content_digest
from tests.support.data_samples import data_params, good_table, png, write_table


def digest(path: Path) -> str:
    with open_source(data_params(), path) as source:
        batches = [batch for piece in source.pieces for batch in piece.read()]
        return content_digest(source, [row for batch in batches for row in batch.digests(source.classes)])


def test_class_names_are_read_and_belong_to_the_digest(tmp_path: Path) -> None:
    good_table(tmp_path / "train.parquet")
    before = digest(tmp_path)
    (tmp_path / "classes.json").write_text('["cat", "dog"]')
    with open_source(data_params(), tmp_path) as source:
        assert source.classes_of(data_params().targets) == {"label": ["cat", "dog"]}
    assert digest(tmp_path) != before, "class names decide the result"


def test_the_digest_is_of_rows_and_not_of_files(tmp_path: Path) -> None:
    images = [png(number) for number in range(4)]
    whole = digest(write_table(tmp_path / "a.parquet", images, [0, 1, 0, 1]))
    assert digest(write_table(tmp_path / "b.parquet", images, [0, 1, 0, 1], {"more": [1, 2, 3, 4]})) == whole
    named = write_table(tmp_path / "names" / "train.parquet", images, [0, 1, 0, 1]).parent
    (named / "classes.json").write_text('["cat", "dog"]')
    cats = digest(write_table(tmp_path / "n.parquet", images, ["cat", "dog", "cat", "dog"]))
    assert digest(named) == cats != whole, "a class is the same by name and by number"
    assert digest(write_table(tmp_path / "c.parquet", images, [0, 1, 1, 1])) != whole
    assert digest(write_table(tmp_path / "d.parquet", images[::-1], [0, 1, 0, 1])) != whole
    assert digest(write_table(tmp_path / "e.parquet", [None, *images[1:]], [0, 1, 0, 1])) != whole
