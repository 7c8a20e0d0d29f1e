"""Tables that name files: how they are written, what their columns hold, which file a name means."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.intake.opening import open_source
from pipeline.errors import DataError
from tests.support.data_samples import data_params, png
from tests.support.source_samples import (
    TABLE,
    left_out,
    read,
    told,
    write_files,
    write_zip,
)

IMAGES = {"img/a.png": b"a", "img/b.JPG": b"b", "img/c.png": b"c"}
ROWS = [("img/a.png", "cat"), ("img/b.JPG", "dog"), ("img/c.png", "cat")]


JSON_LINES = "".join(json.dumps({"file": file, "label": label}) + "\n" for file, label in ROWS).encode()


def csv_of(rows: list[tuple[str, str]] = ROWS, delimiter: str = ",", header: str = "file{}label") -> str:
    lines = [header.format(delimiter), *(delimiter.join(row) for row in rows)]
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", csv_of().encode()),
        ("t.csv", csv_of().replace("\n", "\r\n").encode("utf-8-sig")),
        ("t.csv", csv_of(delimiter=";").encode()),
        ("t.csv", ("sep=;\r\n" + csv_of(delimiter=";")).encode()),
        ("t.csv", csv_of(delimiter=";").encode("utf-16")),
        ("t.tsv", csv_of(delimiter="\t").encode()),
        ("t.csv", csv_of(header='"file"{} label ,').encode()),
        ("t.csv", (csv_of() + ",\n\n,,,\n").encode()),
        ("t.csv.gz", gzip.compress(csv_of().encode(), mtime=0)),
        ("t.csv", csv_of([(file.replace("/", "\\"), label) for file, label in ROWS]).encode()),
        ("t.csv", csv_of([(file[4:-4].upper(), label) for file, label in ROWS]).encode()),
        (
            "t.jsonl",
            "".join(json.dumps({"file": file, "label": label}) + "\n" for file, label in ROWS).encode(),
        ),
        ("t.jsonl.zst", b""),
        ("t.parquet", b""),
    ],
)
def test_the_same_rows_however_they_are_written(tmp_path: Path, name: str, data: bytes) -> None:
    write_files(tmp_path, IMAGES | {name: data})
    columns = {"file": [file for file, _ in ROWS], "label": [label for _, label in ROWS]}
    if name == "t.parquet":
        pq.write_table(pa.table(columns), tmp_path / name)
    if name == "t.jsonl.zst":
        (tmp_path / name).write_bytes(pa.compress(JSON_LINES, "zstd", asbytes=True))
    source = TABLE | {"root": "img"} if b"A,cat" in data else TABLE
    found = read(tmp_path, source)
    assert (found.files, found.cells["label"]) == (columns["file"], columns["label"])
    assert (found.images, found.rows) == ([b"a", b"b", b"c"], [0, 1, 2])


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "0", "12"], "integers", [1, 0, 12]),
        (["1", "", "NA"], "integers", [1, None, None]),
        (["1.5", "2", "1e3"], "numbers", [1.5, 2.0, 1000.0]),
        (["3,5", "2", "-1,25"], "numbers", [3.5, 2.0, -1.25]),
        (["007", "008", "1"], "names", ["007", "008", "1"]),
        (["TRUE", "false", ""], "booleans", [True, False, None]),
        (["NA", "None", ""], "names", ["NA", "None", None]),
        (["cat", "NA", "1"], "names", ["cat", "NA", "1"]),
        (['"[""a"", ""b""]"', "[]", "['c']"], "lists", [["a", "b"], [], ["c"]]),
        (["[1, 2]", "[0]", ""], "lists", [[1, 2], [0], None]),
        (["a|b", "c", ""], "lists", [["a", "b"], ["c"], None]),
    ],
)
def test_what_a_column_holds_is_found_out(
    tmp_path: Path, cells: list[str], kind: str, values: list[Any]
) -> None:
    rows = [(file, cell) for (file, _), cell in zip(ROWS, cells, strict=True)]
    write_files(tmp_path, IMAGES | {"t.csv": csv_of(rows, ";").encode()})
    field = {"lists": "classes", "booleans": "classes", "numbers": "number"}.get(kind, "class")
    column = {"columns": ["label"]} if field == "classes" else {"column": "label"}
    params = data_params(
        source=TABLE | {"list_separator": "|"}, targets={"label": {"field": field, **column}}
    )
    with open_source(params, tmp_path) as source:
        assert source.columns["label"] == kind
        (batch,) = source.pieces[0].read()
    assert batch.cells["label"] == values


def test_a_table_for_each_split_or_a_column_that_says_it(tmp_path: Path) -> None:
    tables = {"train.csv": ROWS[:1], "Test.csv": ROWS[1:]}
    for name, rows in tables.items():
        write_files(tmp_path / "a", IMAGES | {name: csv_of(rows).encode()})
    assert read(tmp_path / "a", TABLE).splits == ["train", "test", "test"]
    parts = {f"{split}/metadata.jsonl": b'{"file": "1.png", "label": "cat"}' for split in ("train", "valid")}
    write_files(tmp_path / "b", parts | {"train/1.png": b"1", "valid/1.png": b"2"})
    found = read(tmp_path / "b", TABLE)
    assert (found.splits, found.files) == (["train", "val"], ["train/1.png", "valid/1.png"])
    lines = "file,label,part\nimg/a.png,cat,valid\nimg/b.JPG,dog,train\nimg/c.png,dog,nowhere\n"
    write_files(tmp_path / "c", IMAGES | {"t.csv": lines.encode()})
    found = read(tmp_path / "c", TABLE | {"split_column": "part"})
    assert (found.splits, found.rows) == (["train", "train", "val"], [1, 2, 0])
    assert told(found) == [("t.csv", "unknown split")]


def test_names_that_start_elsewhere(tmp_path: Path) -> None:
    rows = [("../img/a.png", "cat"), ("img/b.JPG", "dog")]
    write_files(tmp_path, IMAGES | {"labels/t.csv": csv_of(rows).encode()})
    assert read(tmp_path, TABLE | {"table": "labels/t.csv"}).files == ["img/a.png", "img/b.JPG"]


def test_an_archive_with_its_table(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {f"top/{name}": data for name, data in IMAGES.items()})
    write_zip(tmp_path / "b.zip", IMAGES | {"t.csv": csv_of().encode(), "img/d.png": b"d"})
    assert read(tmp_path / "b.zip", TABLE).images == [b"a", b"b", b"c"]
    assert left_out(tmp_path / "b.zip", TABLE) == {"images that no table names": 1}
    with pytest.raises(DataError, match="needs one table, or one for each split"):
        read(path, TABLE)


def test_images_in_base64(tmp_path: Path) -> None:
    image = base64.b64encode(png(0, 16, 16)).decode()
    rows = [(image, "cat"), (f'"data:image/png;base64,{image}"', "dog"), ("x" * 301, "dog")]
    write_files(tmp_path, {"t.csv": csv_of(rows).encode()})
    found = read(tmp_path, TABLE)
    assert found.images[:2] == [png(0, 16, 16)] * 2
    assert told(found) == [("t.csv", "undecodable image")]


def test_western_spreadsheets_and_tables_that_disagree(tmp_path: Path) -> None:
    write_files(tmp_path, IMAGES | {"train.csv": csv_of([("img/a.png", "caf\xe9")]).encode("cp1252")})
    assert read(tmp_path, TABLE).cells["label"] == ["caf\xe9"]
    write_files(tmp_path, {"test.csv": csv_of([("img/b.JPG", "1")]).encode()})
    with pytest.raises(DataError, match=r"several types \(test.csv: integers, before: names"):
        read(tmp_path, TABLE)
