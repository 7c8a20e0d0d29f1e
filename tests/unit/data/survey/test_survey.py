"""What lies at a path is found out: which kind of source, what its columns hold, and some images."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from pipeline.data.survey.survey import Survey, survey
from pipeline.errors import DataError
from tests.support.data_samples import encoded, photo, png, write_table
from tests.support.source_samples import classes_of_pngs, write_files, write_zip

TABLE = {
    "kind": "table",
    "table": None,
    "image_column": "image",
    "root": None,
    "split_column": None,
    "list_separator": None,
    "path": "x",
}


def looked_at(path: Path) -> Survey:
    with survey(path, "x") as found:
        return found


def csv(rows: int = 8, header: str = "image,label", line: str = "pics/{0}.png,{1}") -> bytes:
    lines = [line.format(row, ("cat", "dog")[row % 2]) for row in range(rows)]
    return "\n".join([header, *lines, ""]).encode()


def pictures(rows: int = 8, below: str = "pics/") -> dict[str, bytes]:
    return {f"{below}{row}.png": png(row) for row in range(rows)}


def test_folders_of_classes(tmp_path: Path) -> None:
    found = looked_at(write_files(tmp_path / "x", classes_of_pngs(6) | {"notes.txt": b"", ".DS_Store": b""}))
    assert found.source == {"kind": "folder", "path": "x"}
    assert found.rows.cells["label"] == ["cat"] * 3 + ["dog"] * 3
    assert found.sample.sizes == [(4, 4)] * 6
    assert found.sample.modes == {"RGB": 6}
    assert found.sample.coloured
    assert sum(found.opened.left_out.values()) == 2


def test_folders_below_splits_in_a_zip(tmp_path: Path) -> None:
    files = classes_of_pngs(4, "train/") | classes_of_pngs(2, "valid/")
    found = looked_at(write_zip(tmp_path / "x.zip", files))
    assert found.source["kind"] == "folder"
    assert found.rows.splits == ["train"] * 4 + ["val"] * 2


@pytest.mark.parametrize(
    ("files", "changes"),
    [
        ({"a.csv": csv()} | pictures(), {}),
        ({"a.csv": csv(line="{0}.png,{1}")} | pictures(), {}),
        ({"lists/a.tsv": csv().replace(b",", b"\t")} | pictures(), {}),
        ({"a.csv": csv(header="file;kind", line="pics/{0};{1}")} | pictures(), {"image_column": "file"}),
        ({"a.csv": csv(), "b.csv": b"name,size\nx,3\n"} | pictures(), {"table": "a.csv"}),
        (
            {"train.csv": csv(4), "test.csv": csv(2, line="more/{0}.png,{1}")}
            | pictures()
            | pictures(2, "more/"),
            {},
        ),
        (
            {"a.csv": csv(header="image,split,label", line="pics/{0}.png,train,{1}|x")} | pictures(),
            {"split_column": "split", "list_separator": "|"},
        ),
        (
            {"a.jsonl": b"".join(json.dumps({"image": f"pics/{n}.png"}).encode() + b"\n" for n in range(4))}
            | pictures(),
            {},
        ),
    ],
)
def test_tables_that_name_images(files: Mapping[str, bytes], changes: dict[str, Any], tmp_path: Path) -> None:
    found = looked_at(write_files(tmp_path / "x", files))
    assert found.source == TABLE | changes
    assert found.opened.rows > 0
    assert found.sample.odd == []


def test_a_table_that_names_nothing_beside_folders_of_classes(tmp_path: Path) -> None:
    files = classes_of_pngs() | {"sizes.csv": b"class,count\ncat,2\ndog,2\n"}
    assert looked_at(write_files(tmp_path / "x", files)).source["kind"] == "folder"


@pytest.mark.parametrize(("column", "kind"), [("image", "binary"), ("photo_bytes", "struct")])
def test_parquet_that_holds_images(column: str, kind: str, tmp_path: Path) -> None:
    images = [png(row) for row in range(6)]
    path = tmp_path / "train-00000-of-00001.parquet"
    if kind == "binary":
        write_table(path, images, [0, 1] * 3, image=column)
    else:
        packed = pa.array([{"bytes": image, "path": None} for image in images])
        write_table(path, images, [0, 1] * 3, {column: packed}, image="blob")
        pa.parquet.write_table(pa.parquet.read_table(path).drop(["blob"]), path)
    found = looked_at(tmp_path)
    assert found.source == {"kind": "parquet", "image_column": column, "raw_shape": None, "path": "x"}
    assert found.rows.cells == {"label": [0, 1] * 3}


def test_parquet_of_raw_pixels(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", [bytes(range(192)), bytes(192)] * 2, [0, 1] * 2)
    found = looked_at(path)
    assert found.source["raw_shape"] == [8, 8, 3]
    assert found.sample.sizes == [(8, 8)] * 4


def test_odd_images_are_named(tmp_path: Path) -> None:
    files = classes_of_pngs() | {"cat/bad.png": png(1)[:40], "cat/deep.png": _deep()}
    found = looked_at(write_files(tmp_path / "x", files))
    reasons = dict(found.sample.odd)
    assert reasons.keys() == {"cat/bad.png", "cat/deep.png"}
    assert "16-bit" in reasons["cat/deep.png"]


def test_sizes_are_of_upright_images_and_grey_is_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = encoded(photo(1, 40, 20).convert("L"), "JPEG", exif=exif)
    found = looked_at(write_files(tmp_path / "x", {"a/1.jpg": lying, "b/2.jpg": lying}))
    assert found.sample.sizes == [(20, 40)] * 2
    assert not found.sample.coloured


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"no file is there"),
        ({".hidden": b""}, r"no file is there; 1 hidden"),
        ({"1.png": png(1)}, r"1 images, but nothing says what is to be learnt; put them into a folder"),
        ({"a.bin": b"x", "b.doc": b"y"}, r"2 files \(.bin, .doc\), but no images"),
    ],
)
def test_what_is_no_source_is_refused(files: Mapping[str, bytes], message: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(DataError, match=message):
        looked_at(write_files(tmp_path / "x", files))


def test_a_table_alone_is_told_where_its_images_belong(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(csv())
    with pytest.raises(DataError, match="a table that names images lies in a folder with them"):
        looked_at(tmp_path / "a.csv")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(DataError, match=r"x\.zip"):
        looked_at(tmp_path / "x.zip")
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(csv())[:30])
    with pytest.raises(DataError, match=r"cannot be decompressed"):
        looked_at(tmp_path / "x.csv.gz")


def _deep() -> bytes:
    return encoded(Image.new("I;16", (4, 4), 4000))
