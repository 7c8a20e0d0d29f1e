"""Sources: what is opened, in which order rows come, and what is refused before any row is read."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.intake.digits import open_digits
from pipeline.data.intake.parquet import open_parquet
from pipeline.data.intake.source import BATCH_ROWS, Source
from pipeline.data.intake.targets.naming import Label
from pipeline.errors import DataError
from tests.support.data_samples import data_params, good_table, png, write_table


def refused(path: Path, message: str, **changes: Any) -> None:
    with pytest.raises(DataError, match=message):
        list(open_parquet(data_params(**changes), path).batches)


def labels_of(source: Source) -> list[Label | None]:
    return [label for batch in source.batches for label in batch.cells["label"]]


def test_digits_span_the_whole_range_and_are_named() -> None:
    source = open_digits(data_params(source="digits"), Path("absent"))
    batches = list(source.batches)
    images = np.frombuffer(b"".join(image for batch in batches for image in batch.images if image), np.uint8)
    assert len(images) == 1797 * 64
    assert set(images.tolist()) == {(value * 255 + 8) // 16 for value in range(17)}
    assert source.classes == {"label": [str(digit) for digit in range(10)]}
    assert [batch.first_row for batch in batches] == list(range(0, 1797, BATCH_ROWS))
    assert source.sha256 == open_digits(data_params(), Path()).sha256


def test_rows_come_in_order_with_their_numbers(tmp_path: Path) -> None:
    count = BATCH_ROWS + 3
    table = write_table(
        tmp_path / "many.parquet", [str(row).encode() for row in range(count)], list(range(count))
    )
    batches = list(open_parquet(data_params(), table).batches)
    numbered = [
        (batch.first_row + offset, image) for batch in batches for offset, image in enumerate(batch.images)
    ]
    assert numbered == [(row, str(row).encode()) for row in range(count)]
    assert {(batch.file, batch.split) for batch in batches} == {("many.parquet", "train")}


def test_single_file_is_digested_as_it_is(tmp_path: Path) -> None:
    table = good_table(tmp_path / "t.parquet")
    source = open_parquet(data_params(), table)
    assert (source.name, source.splits, source.classes) == ("t.parquet", ["train"], {})
    assert source.sha256 == hashlib.sha256(table.read_bytes()).hexdigest()


def test_folder_brings_its_splits_and_classes(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        good_table(tmp_path / f"{split}.parquet")
    before = open_parquet(data_params(), tmp_path)
    (tmp_path / "classes.json").write_text('["cat", "dog"]')
    source = open_parquet(data_params(), tmp_path)
    assert source.splits == ["train", "val", "test"]
    assert source.classes == {"label": ["cat", "dog"]}
    assert source.sha256 != before.sha256, "class names decide the result, so they belong to the digest"
    assert [batch.split for batch in source.batches] == ["train", "val", "test"]


def test_dictionary_encoded_names_are_names(tmp_path: Path) -> None:
    labels = pa.array(["cat", "dog", None]).dictionary_encode()
    table = write_table(tmp_path / "t.parquet", [png(0)] * 3, labels)
    assert labels_of(open_parquet(data_params(), table)) == ["cat", "dog", None]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_images_packed_with_their_path_are_read(tmp_path: Path, kind: Any) -> None:
    """As Hugging Face's data sets have them."""
    rows = [{"bytes": png(0), "path": "0.png"}, {"bytes": None, "path": "1.png"}, None]
    images = pa.array(rows, pa.struct([("bytes", kind), ("path", pa.string())]))
    pq.write_table(pa.table({"image": images, "label": [0, 1, 0]}), tmp_path / "t.parquet")
    (batch,) = open_parquet(data_params(), tmp_path / "t.parquet").batches
    assert batch.images == [png(0), None, None]


def test_a_struct_without_bytes_is_refused(tmp_path: Path) -> None:
    images = pa.array([{"path": "0.png"}])
    pq.write_table(pa.table({"image": images, "label": [0]}), tmp_path / "t.parquet")
    refused(
        tmp_path / "t.parquet", r"column 'image' is struct<path: string>; it must be binary .*field 'bytes'"
    )


def test_dictionary_encoded_images_and_views_of_names_are_read(tmp_path: Path) -> None:
    images = pa.array([png(0), png(1), png(0)]).dictionary_encode()
    pq.write_table(
        pa.table({"image": images, "label": pa.array(["a", "b", "a"], pa.string_view())}),
        tmp_path / "t.parquet",
    )
    (batch,) = open_parquet(data_params(), tmp_path / "t.parquet").batches
    assert (batch.images, batch.cells["label"]) == ([png(0), png(1), png(0)], ["a", "b", "a"])


@pytest.mark.parametrize("encode", [False, True])
def test_texts_that_are_no_utf8_are_kept_apart(tmp_path: Path, encode: bool) -> None:
    names = pa.array([b"cat", b"caf\xe9", None]).view(pa.string())
    labels = names.dictionary_encode() if encode else names
    pq.write_table(pa.table({"image": [png(0)] * 3, "label": labels, "site": labels}), tmp_path / "t.parquet")
    (batch,) = open_parquet(data_params(slice_columns=["site"]), tmp_path / "t.parquet").batches
    assert batch.cells["label"] == ["cat", "caf\udce9", None]
    assert batch.slices == [("cat",), ("caf\ufffd",), ("null",)]


def test_a_column_named_like_a_path_into_another(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image.png": [png(0)], "label": [0]}), tmp_path / "t.parquet")
    (batch,) = open_parquet(data_params(image_column="image.png"), tmp_path / "t.parquet").batches
    assert batch.images == [png(0)]


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    table = pa.Table.from_arrays(
        [pa.array([png(0)]), pa.array([0]), pa.array([1])], ["image", "label", "label"]
    )
    pq.write_table(table, tmp_path / "t.parquet")
    refused(tmp_path / "t.parquet", r"column 'label' \(data.targets.label\) is there twice; rename one")


def test_classes_that_are_a_folder(tmp_path: Path) -> None:
    good_table(tmp_path / "train.parquet")
    (tmp_path / "classes.json").mkdir()
    refused(tmp_path, r"classes.json: cannot be read \(Is a directory\); mend it, or change data.path")


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    refused(tmp_path / ("x" * 300), r"x: cannot be read \(File name too long\)")


def test_missing_path(tmp_path: Path) -> None:
    refused(
        tmp_path / "none",
        r"data.path '.*none' does not exist; name a Parquet file or a folder with train.parquet",
    )


def test_folder_without_train(tmp_path: Path) -> None:
    good_table(tmp_path / "train600.parquet")
    refused(tmp_path, r"has no train.parquet \(found: train600.parquet\); rename")


def test_missing_column_names_the_nearest(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [png(0)], [0], image="img", label="labels")
    refused(table, r"t.parquet: no column 'image' \(data.image_column\); did you mean 'img'")
    refused(table, r"no column 'label' \(data.targets.label\); did you mean 'labels'", image_column="img")
    refused(table, r"no column 'x' \(data.image_column\); known: img, labels", image_column="x")


def test_wrong_column_types(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [png(0)], [0.5])
    refused(table, r"column 'label' is double; labels must be integers from 0 or names")
    refused(table, r"column 'label' is double; it must be binary", image_column="label")


def test_label_types_that_differ_between_files(tmp_path: Path) -> None:
    good_table(tmp_path / "train.parquet")
    write_table(tmp_path / "test.parquet", [png(0)], ["cat"])
    refused(tmp_path, r"column 'label' has several types \(train.parquet: integers, test.parquet: names\)")


def test_file_that_is_not_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"hello, I am a text file")
    refused(path, r"t.parquet: not a readable Parquet file")


def test_damaged_page_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    marker = b"a-long-image-that-is-easy-to-find"
    pq.write_table(
        pa.table({"image": [marker], "label": [0]}),
        path,
        compression="none",
        use_dictionary=False,
        write_page_checksum=True,
        write_statistics=False,
        store_schema=False,
    )
    content = path.read_bytes()
    assert content.count(marker) == 1
    path.write_bytes(content.replace(marker, marker[:-1] + b"D"))
    refused(path, r"t.parquet: not a readable Parquet file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "not valid JSON"),
        ('{"label": 0}', "expected a list of class names"),
        ("[1, 2]", "expected a list of class names"),
        ('["cat", "dog", "cat"]', "class 'cat' is listed twice"),
        (r'["cat", "\ud800"]', "not valid JSON .*surrogates not allowed"),
        ("[" * 100_000, "not valid JSON .*recursion"),
    ],
)
def test_malformed_classes(tmp_path: Path, text: str, message: str) -> None:
    good_table(tmp_path / "train.parquet")
    (tmp_path / "classes.json").write_text(text)
    refused(tmp_path, rf"classes.json: {message}")
