"""Sources: what is opened, in which order rows come, and what is refused before any row is read."""

import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.intake.opening import open_source
from pipeline.data.intake.source import BATCH_BYTES, BATCH_ROWS, PIECE_ROWS
from pipeline.errors import DataError
from pipeline.images.defect import Defect
from tests.support.data_samples import data_params, good_table, parquet_source, png, read_source, write_table
from tests.support.source_samples import told, write_files, write_zip


def refused(path: Path, message: str, image_column: str = "image", **changes: Any) -> None:
    params = data_params(source=parquet_source(image_column=image_column), **changes)
    with pytest.raises(DataError, match=message):
        read_source(params, path)


def test_rows_come_in_order_with_their_numbers(tmp_path: Path) -> None:
    count = 2 * PIECE_ROWS + BATCH_ROWS + 3
    table = pa.table({"image": [str(row).encode() for row in range(count)], "label": list(range(count))})
    pq.write_table(table, tmp_path / "many.parquet", row_group_size=PIECE_ROWS + 1)
    read = read_source(data_params(), tmp_path / "many.parquet")
    assert read.rows == list(range(count))
    assert read.images == [str(row).encode() for row in range(count)]
    assert read.cells["label"] == list(range(count))
    assert {*read.files, *read.splits} == {"many.parquet", "train"}


def test_any_piece_is_read_alone(tmp_path: Path) -> None:
    """Also one from the middle of a row group."""
    count = 3 * PIECE_ROWS
    write_table(tmp_path / "t.parquet", [str(row).encode() for row in range(count)], list(range(count)))
    with open_source(data_params(), tmp_path / "t.parquet") as source:
        last = pickle.loads(pickle.dumps(source.pieces[-1]))
        assert [piece.rows for piece in source.pieces] == [PIECE_ROWS] * 3
        assert [row for batch in last.read() for row in batch.rows] == list(range(2 * PIECE_ROWS, count))


def test_folder_brings_its_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        good_table(tmp_path / f"{split}.parquet")
    with open_source(data_params(), tmp_path) as source:
        assert source.splits == ["train", "val", "test"]
    assert list(dict.fromkeys(read_source(data_params(), tmp_path).splits)) == ["train", "val", "test"]


def test_dictionary_encoded_names_are_names(tmp_path: Path) -> None:
    labels = pa.array(["cat", "dog", None]).dictionary_encode()
    table = write_table(tmp_path / "t.parquet", [png(0)] * 3, labels)
    assert read_source(data_params(), table).cells["label"] == ["cat", "dog", None]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_images_packed_with_their_path_are_read(tmp_path: Path, kind: Any) -> None:
    """As Hugging Face's data sets have them."""
    rows = [{"bytes": png(0), "path": "0.png"}, {"bytes": None, "path": "1.png"}, None]
    images = pa.array(rows, pa.struct([("bytes", kind), ("path", pa.string())]))
    pq.write_table(pa.table({"image": images, "label": [0, 1, 0]}), tmp_path / "t.parquet")
    read = read_source(data_params(), tmp_path / "t.parquet")
    null = Defect("null image", "the image is null")
    assert [image if isinstance(image, bytes) else image.args for image in read.images] == [
        png(0),
        null.args,
        null.args,
    ]


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
    read = read_source(data_params(), tmp_path / "t.parquet")
    assert (read.images, read.cells["label"]) == ([png(0), png(1), png(0)], ["a", "b", "a"])


@pytest.mark.parametrize("encode", [False, True])
def test_texts_that_are_no_utf8_are_kept_apart(tmp_path: Path, encode: bool) -> None:
    names = pa.array([b"cat", b"caf\xe9", None]).view(pa.string())
    labels = names.dictionary_encode() if encode else names
    pq.write_table(pa.table({"image": [png(0)] * 3, "label": labels, "site": labels}), tmp_path / "t.parquet")
    read = read_source(data_params(slice_columns=["site"]), tmp_path / "t.parquet")
    assert read.cells["label"] == ["cat", "caf\udce9", None]
    assert read.texts(["site"]) == {"site": ["cat", "caf\ufffd", "null"]}


def test_a_column_named_like_a_path_into_another(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image.png": [png(0)], "label": [0]}), tmp_path / "t.parquet")
    read = read_source(data_params(source=parquet_source(image_column="image.png")), tmp_path / "t.parquet")
    assert read.images == [png(0)]


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    table = pa.Table.from_arrays(
        [pa.array([png(0)]), pa.array([0]), pa.array([1])], ["image", "label", "label"]
    )
    pq.write_table(table, tmp_path / "t.parquet")
    refused(tmp_path / "t.parquet", r"column 'label' is there twice; rename one")


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    refused(tmp_path / ("x" * 300), r"x: cannot be read \(File name too long\)")


def test_missing_path(tmp_path: Path) -> None:
    refused(
        tmp_path / "none",
        r"data.source.path '.*none' does not exist, or is no file or folder",
    )


def test_folder_without_train(tmp_path: Path) -> None:
    good_table(tmp_path / "test600.parquet")
    refused(tmp_path, r"has no train.parquet \(found: test600.parquet\); rename")


HUB = ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-0-of-1.parquet")
SPARK = ("train/part-2-a.snappy.parquet", "train/part-10-a.snappy.parquet", "valid/part-0.parquet")
PARTS = ("part-00000.parquet", "part-00001.parquet", "part-00002.parquet")


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (HUB, ["train", "train", "test"]),
        (SPARK, ["train", "train", "val"]),
        (PARTS, ["train"] * 3),
        (("train600.parquet", "my_train_2.parquet", "VAL.parquet"), ["train", "train", "val"]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_files_as_hubs_and_spark_write_them(
    tmp_path: Path, names: tuple[str, ...], splits: list[str], packed: bool
) -> None:
    files = {name: write_table(tmp_path / name, [name.encode()], [0]).read_bytes() for name in names}
    write_files(tmp_path, {"train/_SUCCESS": b"", "train/.part-2.crc": b"", "train/_metadata.parquet": b"x"})
    path = write_zip(tmp_path / "a.zip", files) if packed else tmp_path
    found = read_source(data_params(), path)
    assert found.splits == splits
    assert found.files == [image.decode() for image in found.images if isinstance(image, bytes)]
    assert sorted(found.files) == sorted(names)
    if names == SPARK:
        assert found.files == list(SPARK)


def test_files_of_no_split_beside_those_of_one_are_counted(tmp_path: Path) -> None:
    for name in ("train", "more", "extra"):
        good_table(tmp_path / f"{name}.parquet")
    with open_source(data_params(), tmp_path) as source:
        assert source.left_out == {"Parquet files of no split": 2}


def with_notes(names: Any) -> Any:
    """A schema as Hugging Face's library writes it. names: of the classes."""
    features = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    notes = json.dumps({"info": {"features": features}}).encode()
    return pa.schema([("image", pa.binary()), ("label", pa.int64())], {b"huggingface": notes})


def test_class_names_in_the_metadata(tmp_path: Path) -> None:
    table = pa.table({"image": [png(0), png(1)], "label": [1, 0]}, with_notes(["dog", "cat"]))
    pq.write_table(table, tmp_path / "train.parquet")
    with open_source(data_params(), tmp_path) as source:
        assert source.classes == {"label": ["dog", "cat"]}
    (tmp_path / "classes.json").write_text('["a", "b"]')
    with open_source(data_params(), tmp_path) as source:
        assert source.classes == {"label": ["a", "b"]}, "what a person wrote beside them comes first"
    pq.write_table(table.cast(with_notes(["cat", "dog"])), tmp_path / "test.parquet")
    refused(tmp_path, "train.parquet and test.parquet have other names of classes")


@pytest.mark.parametrize("names", [None, [1, 2], ["a", "a"], {"0": "a"}, "[" * 100])
def test_metadata_that_say_no_class_names(tmp_path: Path, names: Any) -> None:
    pq.write_table(pa.table({"image": [png(0)], "label": [1]}, with_notes(names)), tmp_path / "t.parquet")
    with open_source(data_params(), tmp_path / "t.parquet") as source:
        assert source.classes == {}


@pytest.mark.parametrize("kind", [pa.list_(pa.uint8()), pa.large_list(pa.int64()), pa.list_(pa.float64(), 4)])
def test_raw_pixels_as_lists(tmp_path: Path, kind: Any) -> None:
    images = pa.array([[0, 1, 2, 255], [4, 5, 6, 7]], kind)
    pq.write_table(pa.table({"image": images, "label": [0, 1]}), tmp_path / "t.parquet")
    raw = data_params(source=parquet_source(raw_shape=[2, 2, 1]))
    assert read_source(raw, tmp_path / "t.parquet").images == [b"\0\1\2\xff", b"\4\5\6\7"]
    refused(tmp_path / "t.parquet", "column 'image' holds lists of pixels; say their data.source.raw_shape")


def test_lists_of_lists_and_pixels_that_are_none(tmp_path: Path) -> None:
    images = [[[0, 1], [2, 3]], [[0, 256], [2, 3]], [[0, -1], [2, 3]], [[0, None], [2, 3]], None, [[0.5]]]
    pq.write_table(
        pa.table({"image": pa.array(images, pa.list_(pa.list_(pa.float32()))), "label": [0] * 6}),
        tmp_path / "t.parquet",
    )
    found = read_source(data_params(source=parquet_source(raw_shape=[2, 2, 1])), tmp_path / "t.parquet")
    assert found.images[0] == b"\0\1\2\3"
    assert [reason for _, reason in told(found)] == [
        "pixel out of range",
        "pixel out of range",
        "null image",
        "null image",
        "pixel out of range",
    ]


def test_a_table_that_names_files_is_told_its_kind(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a.png"], "label": [0]}), tmp_path / "t.parquet")
    refused(tmp_path / "t.parquet", "for a table that names files take kind: table")


def test_large_images_come_in_small_batches(tmp_path: Path) -> None:
    images = [bytes([row]) * (BATCH_BYTES * 3 // 8) for row in range(4)]
    table = pa.table({"image": images, "label": list(range(4))})
    pq.write_table(table, tmp_path / "t.parquet", compression="zstd", use_dictionary=False)
    with open_source(data_params(), tmp_path / "t.parquet") as source:
        assert [len(batch.rows) for batch in source.pieces[0].read()] == [2, 2]


def test_a_decompression_bomb(tmp_path: Path) -> None:
    table = pa.table({"image": [bytes(BATCH_BYTES * 3 // 4)] * 3, "label": [0] * 3})
    pq.write_table(table, tmp_path / "t.parquet", compression="zstd", use_dictionary=False)
    refused(tmp_path / "t.parquet", "a decompression bomb")


def test_missing_column_names_the_nearest(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [png(0)], [0], image="img", label="labels")
    refused(table, r"t.parquet: no column 'image' \(data.source.image_column\); did you mean 'img'")
    refused(table, r"no column 'label' \(data.targets.label\); did you mean 'labels'", image_column="img")
    refused(table, r"no column 'x' \(data.source.image_column\); known: img, labels", image_column="x")


def test_wrong_column_types(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [png(0)], [0.5])
    refused(table, r"column 'label' holds numbers; labels must be integers from 0 or names")
    refused(table, r"column 'label' is double; it must be binary", image_column="label")


def test_label_types_that_differ_between_files(tmp_path: Path) -> None:
    good_table(tmp_path / "train.parquet")
    write_table(tmp_path / "test.parquet", [png(0)], ["cat"])
    refused(tmp_path, r"column 'label' has several types \(train.parquet: integers, test.parquet: names\)")


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
