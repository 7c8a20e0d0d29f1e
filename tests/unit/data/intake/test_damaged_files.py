"""Files of every kind with bytes changed, cut or added: each is read, told in its rows, or one message."""

import gzip
import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from pipeline.errors import DataError
from tests.support.data_samples import parquet_source, png, write_table
from tests.support.source_samples import (
    FOLDER,
    IMAGES,
    PIXEL_CSV,
    TABLE,
    classes_of_pngs,
    coco_bytes,
    parquet_bytes,
    read,
    tar_bytes,
    voc_xml,
    write_files,
    write_zip,
)

MUTANTS = 20
FILES = classes_of_pngs(4)
BOXES = {"targets": {"label": {"field": "classes", "columns": ["classes"]}}}
ROWS = [{"file": "a.jpg", "label": "cat"}, {"file": "b.jpg", "label": "dog"}]


class Kind(NamedTuple):
    """source: data.source. name: of the file that is damaged. data: makes it. beside: what else is there.
    changes: other parameters.
    """

    source: dict[str, Any]
    name: str
    data: Callable[[Path], bytes]
    beside: dict[str, bytes]
    changes: dict[str, Any]


KINDS = {
    "zip": Kind(FOLDER, "a.zip", lambda path: write_zip(path, FILES).read_bytes(), {}, {}),
    "tar": Kind(FOLDER, "a.tar", lambda _: tar_bytes(FILES), {}, {}),
    "tar.gz": Kind(FOLDER, "a.tar.gz", lambda _: gzip.compress(tar_bytes(FILES), mtime=0), {}, {}),
    "tar.zst": Kind(
        FOLDER, "a.tar.zst", lambda _: bytes(pa.compress(tar_bytes(FILES), "zstd", asbytes=True)), {}, {}
    ),
    "csv": Kind(TABLE, "t.csv", lambda _: b"file;label\na.jpg;cat\n'b.jpg';\"dog\"\n", IMAGES, {}),
    "jsonl": Kind(TABLE, "t.jsonl", lambda _: "\n".join(map(json.dumps, ROWS)).encode(), IMAGES, {}),
    "table": Kind(
        TABLE,
        "t.parquet",
        lambda _: parquet_bytes({"file": ["a.jpg", "b.jpg"], "label": ["a", "b"]}),
        IMAGES,
        {},
    ),
    "parquet": Kind(
        parquet_source(),
        "train.parquet",
        lambda path: write_table(path, [png(0), png(1)], ["a", "b"]).read_bytes(),
        {},
        {},
    ),
    "webdataset": Kind(
        {"kind": "webdataset", "path": "x"},
        "a.tar",
        lambda _: tar_bytes(
            {"1.jpg": b"1", "1.json": b'{"label": 1}', "2.jpg": b"1", "2.json": b'{"label": 0}'}
        ),
        {},
        {},
    ),
    "voc": Kind(
        {"kind": "voc", "path": "x"}, "a.xml", lambda _: voc_xml([("cat", 1, 1, 2, 2)]), IMAGES, BOXES
    ),
    "coco": Kind({"kind": "coco", "path": "x"}, "a.json", lambda _: coco_bytes(), IMAGES, BOXES),
    "yolo": Kind(
        {"kind": "yolo", "path": "x"},
        "a.txt",
        lambda _: b"0 0.5 0.5 0.1 0.1\n1 1 1 1 1\n",
        IMAGES | {"data.yaml": b"names: [a, b]"},
        BOXES,
    ),
    "yaml": Kind(
        {"kind": "yolo", "path": "x"},
        "data.yaml",
        lambda _: b"names:\n  0: a\n  1: b\nnc: 2\n",
        IMAGES | {"a.txt": b"0 1 1 1 1"},
        BOXES,
    ),
    "idx": Kind(
        {"kind": "idx", "path": "x"},
        "train-images-idx3-ubyte",
        lambda _: b"\0\0\x08\3\0\0\0\2\0\0\0\2\0\0\0\2" + bytes(8),
        {"train-labels-idx1-ubyte": b"\0\0\x08\1\0\0\0\2\0\1"},
        {},
    ),
    "pixels": Kind(
        PIXEL_CSV, "t.csv", lambda _: b"label,pixel0,pixel1,pixel2,pixel3\n1,0,1,2,255\n0,3,4,5,6\n", {}, {}
    ),
}


def mutant(data: bytes, number: int) -> bytes:
    """Some bytes changed, cut out or put in, the same for the same number."""
    drawn = random.Random(number)
    changed = bytearray(data)
    for _ in range(drawn.choice([1, 1, 2, 8])):
        place = drawn.randrange(len(changed) + 1)
        way = drawn.randrange(4)
        if way == 0:
            changed[place : place + 1] = drawn.randbytes(1)
        elif way == 1:
            del changed[place : place + drawn.choice([1, 3, 100])]
        elif way == 2:
            changed[place:place] = drawn.randbytes(drawn.choice([1, 30]))
        else:
            changed[place : place + 4] = changed[:4]
    return bytes(changed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_one_message_or_told_in_its_rows(tmp_path: Path, kind: str) -> None:
    source, name, make, beside, changes = KINDS[kind]
    data = make(tmp_path / name)
    folder = write_files(tmp_path / "folder", beside | {name: data})
    path = folder if beside else folder / name
    assert read(path, source, **changes).rows
    for number in range(MUTANTS):
        (folder / name).write_bytes(mutant(data, number))
        with suppress(DataError):
            read(path, source, **changes).digests({})
