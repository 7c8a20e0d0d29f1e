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
from tests.support.source_samples import left_out, read, told, write_files, write_zip

TABLE: dict[str, Any] = {
    "kind": "table",
    "path": "x",
    "table": None,
    "image_column": "file",
    "root": None,
    "split_column": None,
    "list_separator": None,
}
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
        ("t.csv.gz", gzip.compress(csv_of().encode())),
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


def test_what_is_wrong_with_a_row(tmp_path: Path) -> None:
    rows = [
        ("img/a.png", "cat"),
        ("img/./a.png", "cat"),
        ("img/none.png", "dog"),
        ("../../etc/passwd", "dog"),
        ("/etc/passwd", "dog"),
        ("C:\\photos\\a.png", "dog"),
        ("..\\..\\a.png", "dog"),
        ("img/c.png\0.txt", "dog"),
        ("", "dog"),
        ("img/b.JPG", "dog,more"),
    ]
    write_files(tmp_path, IMAGES | {"t.csv": (csv_of(rows) + "img/c.png\n").encode()})
    found = read(tmp_path, TABLE)
    assert told(found) == [
        ("img/a.png", "file named twice"),
        ("img/none.png", "missing file"),
        ("../../etc/passwd", "unsafe path"),
        ("/etc/passwd", "unsafe path"),
        ("C:\\photos\\a.png", "unsafe path"),
        ("..\\..\\a.png", "unsafe path"),
        ("img/c.png\ufffd.txt", "unsafe path"),
        ("t.csv", "null image"),
        ("t.csv", "malformed row"),
        ("t.csv", "malformed row"),
    ]
    assert found.rows == list(range(11))


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ('{"file": "img/b.JPG", ', "line 2: not valid JSON"),
        ("[" * 100_000, "line 2: not valid JSON"),
        ("9" * 5000, "line 2: not valid JSON"),
        ("[1]", "line 2: no JSON object"),
        ('{"file": "\\ud800", "label": "dog"}', "\ufffd is not there"),
        ('{"file": {"a": 1}, "label": "dog"}', "{'a': 1} is not there"),
    ],
)
def test_a_line_that_is_no_json_is_one_row(tmp_path: Path, line: str, detail: str) -> None:
    good = [json.dumps({"file": file, "label": label}) for file, label in ROWS]
    write_files(tmp_path, IMAGES | {"t.jsonl": "\n".join([good[0], line, *good[1:]]).encode()})
    found = read(tmp_path, TABLE)
    assert [getattr(image, "detail", "")[: len(detail)] for image in found.images] == ["", detail, "", ""]


@pytest.mark.parametrize(
    ("name", "text", "changes", "message"),
    [
        ("t.csv", "name,label\nimg/a.png,cat\n", {}, "t.csv: no column 'file'"),
        ("t.csv", "file,labels\nimg/a.png,cat\n", {}, "no column 'label'; did you mean 'labels'"),
        ("t.csv", "file,label,label\nimg/a.png,cat,dog\n", {}, "column 'label' is there twice; rename one"),
        ("t.csv", 'file,label\n"img/a.png,cat\n\n', {}, "t.csv line 3: unexpected end of data; mend the"),
        ("t.csv", "", {}, "t.csv: no column 'file'"),
        ("t.csv", "file,label\n", {}, "holds no image"),
        ("t.csv", "file,label\nimg/a.png,0.5\n", {}, "column 'label' holds numbers; labels must be"),
        ("t.json", '[{"file": 1', {"table": "t.json"}, "t.json: not valid JSON"),
        ("t.json", "[" * 100_000, {"table": "t.json"}, "t.json: not valid JSON .*recursion"),
        ("t.jsonl", '{"file": "a"}\n', {}, "t.jsonl: no column 'label'"),
        ("t.parquet", "PAR1", {}, "t.parquet: not a readable Parquet file"),
        ("t.csv", "", {"table": "u.csv"}, "has no table 'u.csv'"),
        ("t.csv", "", {"table": "../t.csv"}, "has no table '../t.csv'"),
        ("t.txt", "", {}, r"needs one table, or one for each split .*\(found: none\); name one"),
        ("u.tsv", "", {}, r"\(found: t.csv, u.tsv\)"),
    ],
)
def test_tables_that_are_refused(
    tmp_path: Path, name: str, text: str, changes: dict[str, Any], message: str
) -> None:
    write_files(tmp_path, IMAGES | ({"t.csv": b""} if name == "u.tsv" else {}) | {name: text.encode()})
    with pytest.raises(DataError, match=message):
        read(tmp_path, TABLE | changes)


def test_western_spreadsheets_and_tables_that_disagree(tmp_path: Path) -> None:
    write_files(tmp_path, IMAGES | {"train.csv": csv_of([("img/a.png", "caf\xe9")]).encode("cp1252")})
    assert read(tmp_path, TABLE).cells["label"] == ["caf\xe9"]
    write_files(tmp_path, {"test.csv": csv_of([("img/b.JPG", "1")]).encode()})
    with pytest.raises(DataError, match=r"several types \(test.csv: integers, before: names"):
        read(tmp_path, TABLE)
