"""Bad input of every kind of source: one message, or a row that says what is wrong; nothing else changes."""

import gzip
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.base.files import sha256_file
from pipeline.errors import DataError
from tests.support.data_samples import parquet_source
from tests.support.source_samples import (
    FOLDER,
    IMAGES,
    PIXEL_CSV,
    TABLE,
    classes_of_pngs,
    coco_bytes,
    idx_bytes,
    parquet_bytes,
    read,
    special,
    tar_bytes,
    tar_member,
    told,
    voc_xml,
    write_files,
    zip_bytes,
)

FILES = classes_of_pngs(2)
VOC = {"kind": "voc", "path": "x"}
COCO = {"kind": "coco", "path": "x"}
YOLO = {"kind": "yolo", "path": "x"}
IDX = {"kind": "idx", "path": "x"}
WEBDATASET = {"kind": "webdataset", "path": "x"}
BOXES = {"targets": {"label": {"field": "classes", "columns": ["classes"]}}}
DEEP = b"[" * 100_000
PIXELS, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
BLOCKS = {PIXELS: idx_bytes(3, 2, 2, content=bytes(12)), LABELS: idx_bytes(3, content=bytes(3))}

REFUSED: list[tuple[dict[str, Any], dict[str, bytes], str]] = [
    # Folders.
    (FOLDER, {}, "holds no image; look at data.source.path"),
    (
        FOLDER,
        {".DS_Store": b"", "a.txt": b""},
        "holds no image; 1 hidden or system files left out; 1 files of kind .txt",
    ),
    (
        FOLDER,
        {f"{top}/cat/1.png": b"" for top in ("train", "test", "more")},
        "folders test, train are splits, but more",
    ),
    (
        FOLDER,
        {f"{top}/cat/1.png": b"" for top in ("train", "val", "valid")},
        "hold split 'val' twice; put them",
    ),
    (FOLDER, FILES | {"classes.json": b"["}, "classes.json: not valid JSON"),
    (FOLDER, FILES | {"classes.json": DEEP}, "classes.json: not valid JSON .*recursion"),
    (FOLDER, FILES | {"classes.json": b'{"label": 0}'}, "expected a list of class names"),
    (
        FOLDER,
        FILES | {"classes.json": b'{"labels": []}'},
        "no target 'labels' with classes; did you mean 'label'",
    ),
    (FOLDER, FILES | {"classes.json": b"[1, 2]"}, "expected a list of class names"),
    (FOLDER, FILES | {"classes.json": b'["cat", "dog", "cat"]'}, "class 'cat' is listed twice"),
    (FOLDER, FILES | {"classes.json": rb'["cat", "\ud800"]'}, "not valid JSON .*surrogates not allowed"),
    # Archives.
    (FOLDER, {"a.zip": b"PK\x03\x04 and no more"}, "a damaged zip archive"),
    (FOLDER, {"a.zip": zip_bytes(FILES)[:-30]}, "a damaged zip archive"),
    (FOLDER, {"a.zip": zip_bytes({})}, "source 'a.zip' holds no image"),
    (FOLDER, {"a.tar": b"no tar at all" * 100}, "a damaged tar archive"),
    (FOLDER, {"a.tar": tar_bytes(FILES)[:900]}, "a damaged tar archive"),
    (FOLDER, {"a.tar": tar_bytes(FILES)[:512] + b"x" * 2048}, r"a damaged tar archive \(at byte 1024\)"),
    (
        FOLDER,
        {"a.tar": tar_member(tarfile.XHDTYPE, 1 << 32)},
        "a header of 4294967296 bytes, as in a decompression",
    ),
    (FOLDER, {"a.tar.gz": gzip.compress(tar_bytes(FILES), mtime=0)[:-100]}, "cannot be decompressed"),
    (FOLDER, {"a.tar.gz": b"\x1f\x8b and no more"}, "cannot be decompressed"),
    (
        FOLDER,
        {"a.tar.zst": bytes(pa.compress(bytes(65 << 20), "zstd", asbytes=True))},
        "a decompression bomb",
    ),
    (FOLDER, {"a.7z": b"7z\xbc\xaf\x27\x1c"}, "an archive of kind 7z, which is not read; unpack it"),
    (FOLDER, {"a.rar": b"Rar!\x1a\x07"}, "an archive of kind rar"),
    (FOLDER, {"a.tar.bz2": b"BZh9"}, "an archive of kind bzip2"),
    (FOLDER, {"a.tar.xz": b"\xfd7zXZ\0"}, "an archive of kind xz"),
    (FOLDER, {"notes.txt": b"hello"}, "source 'notes.txt' holds no image"),
    # Tables.
    (TABLE, IMAGES | {"t.csv": b"name,label\na.jpg,cat\n"}, "t.csv: no column 'file'"),
    (TABLE, IMAGES | {"t.csv": b"file,labels\na.jpg,cat\n"}, "no column 'label'; did you mean 'labels'"),
    (
        TABLE,
        IMAGES | {"t.csv": b"file,label,label\na.jpg,cat,dog\n"},
        "column 'label' is there twice; rename one",
    ),
    (
        TABLE,
        IMAGES | {"t.csv": b'file,label\n"a.jpg,cat\n\n'},
        "t.csv line 3: unexpected end of data; mend the quotes",
    ),
    (TABLE, IMAGES | {"t.csv": b""}, "t.csv: no column 'file'"),
    (TABLE, IMAGES | {"t.csv": b"file,label\n"}, "holds no image"),
    (TABLE, IMAGES | {"t.csv": b"file,label\na.jpg,0.5\n"}, "column 'label' holds numbers; labels must be"),
    (TABLE, IMAGES | {"t.csv.gz": b"\x1f\x8b and no more"}, "cannot be decompressed"),
    (TABLE, IMAGES | {"t.txt": b""}, r"needs one table, or one for each split .*\(found: none\); name one"),
    (TABLE, IMAGES | {"t.csv": b"", "u.tsv": b""}, r"\(found: t.csv, u.tsv\)"),
    (TABLE | {"table": "u.csv"}, IMAGES | {"t.csv": b""}, "has no table 'u.csv'"),
    (TABLE | {"table": "../t.csv"}, IMAGES | {"t.csv": b""}, "has no table '../t.csv'"),
    (TABLE | {"table": "t.json"}, IMAGES | {"t.json": b'[{"file": 1'}, "t.json: not valid JSON"),
    (TABLE | {"table": "t.json"}, IMAGES | {"t.json": DEEP}, "t.json: not valid JSON .*recursion"),
    (TABLE, IMAGES | {"t.jsonl": b'{"file": "a"}\n'}, "t.jsonl: no column 'label'"),
    (TABLE, IMAGES | {"t.parquet": b"PAR1"}, "t.parquet: not a readable Parquet file"),
    (
        TABLE,
        IMAGES | {"train.csv": b"file,label\na.jpg,cat\n", "test.csv": b"file,label\nb.jpg,1\n"},
        r"several types \(test.csv: integers, before: names",
    ),
    (
        TABLE,
        {"t.csv": b"file,label\na.jpg,cat\n"},
        "names files that are not with it; name the folder that holds both",
    ),
    # Parquet.
    (
        parquet_source(),
        {"train.parquet": b"hello, I am a text file"},
        "train.parquet: not a readable Parquet file",
    ),
    (parquet_source(), {"a.txt": b"", "b.txt": b""}, r"has no train.parquet \(found: no Parquet file\)"),
    (
        parquet_source(),
        {"t.parquet": parquet_bytes({"image": [1], "label": [1]})},
        "'image' is int64; it must be binary",
    ),
    (parquet_source(), {"t.parquet": parquet_bytes({"image": [b""], "n": [1]})}, "no column 'label'"),
    # Boxes.
    (VOC, IMAGES, "has no XML file of annotations"),
    (COCO, IMAGES, "has no JSON file of annotations"),
    (COCO, {"a.json": b"{}", "a.jpg": b""}, "a.json: no COCO annotations: it must be an object with lists"),
    (COCO, {"a.json": DEEP, "a.jpg": b""}, "a.json: not valid JSON .*recursion"),
    (COCO, {"a.json": coco_bytes(images=[1]), "a.jpg": b""}, "a.json: an entry lacks or mistakes a key"),
    (
        COCO,
        {
            "a.json": coco_bytes(annotations=[{"image_id": 1, "category_id": 8, "bbox": [0] * 4}]),
            "a.jpg": b"",
        },
        "KeyError",
    ),
    (YOLO, {"a.jpg": b"", "a.txt": b""}, "has no names of classes: a data.yaml with `names`"),
    (YOLO, {"a.jpg": b"", "classes.txt": b"cat"}, "has no text file of boxes"),
    (YOLO, {"data.yaml": b"names: [a, a]", "a.jpg": b""}, "data.yaml: the names of classes must be a list"),
    (
        YOLO,
        {"data.yaml": b"names: {0: a, b: c}", "a.jpg": b""},
        "data.yaml: the names of classes must be a list",
    ),
    (YOLO, {"data.yaml": b"names: [", "a.jpg": b""}, "data.yaml: not valid YAML"),
    (
        YOLO,
        {"data.yaml": b"names: !!python/object/apply:os.system [ls]", "a.jpg": b""},
        "data.yaml: not valid YAML",
    ),
    # Raw pixels.
    (IDX, {LABELS: BLOCKS[LABELS], "b": b""}, "has no file of images such as train-images-idx3-ubyte"),
    (IDX, {PIXELS: BLOCKS[PIXELS], "b": b""}, f"has no labels beside it; they belong into {LABELS}"),
    (IDX, BLOCKS | {PIXELS: b"hello"}, "no IDX file of unsigned bytes in 3 or 4 dimensions"),
    (IDX, BLOCKS | {PIXELS: b""}, "no IDX file of unsigned bytes"),
    (IDX, BLOCKS | {PIXELS: b"\0\0\x08"}, "no IDX file of unsigned bytes"),
    (
        IDX,
        BLOCKS | {PIXELS: idx_bytes(3, 2, 2, content=b"1234")},
        "20 bytes, but its header says 28; get it again",
    ),
    (IDX, BLOCKS | {PIXELS: idx_bytes(*[2**32 - 1] * 3, content=b"")}, "16 bytes, but its header says"),
    (IDX, BLOCKS | {PIXELS: idx_bytes(3, 2, 2, content=bytes(12), kind=13)}, "no IDX file of unsigned bytes"),
    (IDX, BLOCKS | {PIXELS: idx_bytes(3, 2, 2, 5, content=bytes(60))}, "images of 2 x 2 x 5, which are none"),
    (IDX, BLOCKS | {PIXELS: idx_bytes(3, 0, 2, content=b"")}, "images of 0 x 2 x 1, which are none"),
    (IDX, BLOCKS | {LABELS: idx_bytes(2, content=b"12")}, "3 images, but 2 labels; get both again"),
    (
        IDX,
        BLOCKS | {LABELS: idx_bytes(3, 1, content=b"123")},
        "no IDX file of unsigned bytes in 1 dimensions",
    ),
    (PIXEL_CSV, {"t.csv": b"label,pixel0,pixel1\n1,0,1\n"}, "t.csv: 2 pixels are no square; say their"),
    (PIXEL_CSV, {"t.csv": b"label,name\n1,a\n"}, "t.csv: no columns of pixels"),
    (PIXEL_CSV, {"t.csv": b"digit,pixel0\n1,0\n"}, "t.csv: no column 'label'"),
    (PIXEL_CSV, {"t.csv": b""}, "t.csv: no column 'label'"),
]
"""data.source, the files that are there, and what is said; the path is the file, if there is but one."""

CSV = "file,label\na.jpg,cat\n{}\nc.jpg,dog\n"
LINES = '{{"file": "a.jpg", "label": "cat"}}\n{}\n{{"file": "c.jpg", "label": "dog"}}\n'
PIXEL_ROWS = "label,pixel0\n1,0\n{}\n0,2\n"
LAUGHS = b'<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]><annotation>&y;</annotation>'
OUTSIDE = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'


def in_csv(line: str) -> dict[str, bytes]:
    return IMAGES | {"c.jpg": b"", "t.csv": CSV.format(line).encode()}


def in_lines(line: str) -> dict[str, bytes]:
    return IMAGES | {"c.jpg": b"", "t.jsonl": LINES.format(line).encode()}


def in_voc(xml: bytes) -> dict[str, bytes]:
    return {"a.jpg": b"", "a.xml": voc_xml([("cat", 0, 0, 1, 1)]), "b.jpg": b"", "b.xml": xml}


def in_yolo(line: bytes) -> dict[str, bytes]:
    return {"a.jpg": b"", "a.txt": b"0 0 0 1 1", "b.jpg": b"", "b.txt": line, "data.yaml": b"names: [a, b]"}


def in_tar(name: str, member: bytes | tarfile.TarInfo) -> dict[str, bytes]:
    return {"a.tar": tar_bytes(FILES | {name: member})}


TOLD: list[tuple[dict[str, Any], dict[str, bytes], str, str]] = [
    (FOLDER, FILES | {"stray.jpg": b""}, "stray.jpg", "no class"),
    (FOLDER, in_tar("../cat/x.png", b""), "../cat/x.png", "unsafe path"),
    (FOLDER, in_tar("cat/../../x.png", b""), "cat/../../x.png", "unsafe path"),
    (FOLDER, in_tar("/etc/x.png", b""), "/etc/x.png", "unsafe path"),
    (FOLDER, in_tar("C:\\cat\\x.png", b""), "C:\\cat\\x.png", "unsafe path"),
    (FOLDER, in_tar("..\\cat\\x.png", b""), "..\\cat\\x.png", "unsafe path"),
    (FOLDER, in_tar("cat/x.png", special(tarfile.SYMTYPE, "/etc/passwd")), "cat/x.png", "link in an archive"),
    (FOLDER, in_tar("cat/x.png", special(tarfile.LNKTYPE, "/etc/passwd")), "cat/x.png", "link in an archive"),
    (FOLDER, in_tar("cat/x.png", special(tarfile.CHRTYPE)), "cat/x.png", "not a regular file"),
    (FOLDER, in_tar("cat/x.png", special(tarfile.BLKTYPE)), "cat/x.png", "not a regular file"),
    (FOLDER, in_tar("cat/x.png", special(tarfile.FIFOTYPE)), "cat/x.png", "not a regular file"),
    (TABLE, in_csv("./a.jpg,dog"), "a.jpg", "file named twice"),
    (TABLE, in_csv("none.jpg,dog"), "none.jpg", "missing file"),
    (TABLE, in_csv("../../etc/passwd,dog"), "../../etc/passwd", "unsafe path"),
    (TABLE, in_csv("/etc/passwd,dog"), "/etc/passwd", "unsafe path"),
    (TABLE, in_csv("C:\\b.jpg,dog"), "C:\\b.jpg", "unsafe path"),
    (TABLE, in_csv("..\\b.jpg,dog"), "..\\b.jpg", "unsafe path"),
    (TABLE, in_csv("b.jpg\0.txt,dog"), "b.jpg\ufffd.txt", "unsafe path"),
    (TABLE, in_csv(".,dog"), ".", "unsafe path"),
    (TABLE, in_csv(",dog"), "t.csv", "null image"),
    (TABLE, in_csv("b.jpg,dog,more"), "t.csv", "malformed row"),
    (TABLE, in_csv("b.jpg"), "t.csv", "malformed row"),
    (TABLE, in_csv("x" * 301 + ",dog"), "t.csv", "undecodable image"),
    (TABLE | {"split_column": "label"}, in_csv("b.jpg,train"), "t.csv", "unknown split"),
    (TABLE, in_lines('{"file": "b.jpg", '), "t.jsonl", "malformed row"),
    (TABLE, in_lines(DEEP.decode()), "t.jsonl", "malformed row"),
    (TABLE, in_lines("9" * 5000), "t.jsonl", "malformed row"),
    (TABLE, in_lines("[1]"), "t.jsonl", "malformed row"),
    (
        TABLE,
        in_lines("\ud800".encode(errors="surrogatepass").decode(errors="replace")),
        "t.jsonl",
        "malformed row",
    ),
    (TABLE, in_lines('{"file": "\\ud800", "label": "dog"}'), "\ufffd", "missing file"),
    (TABLE, in_lines('{"file": {"a": 1}, "label": "dog"}'), "{'a': 1}", "missing file"),
    (
        WEBDATASET,
        {"a.tar": tar_bytes({"1.jpg": b"", "1.json": b'{"label": "a"}', "2.jpg": b"", "2.json": b"[1]"})},
        "2.jpg",
        "malformed row",
    ),
    (
        WEBDATASET,
        {"a.tar": tar_bytes({"1.jpg": b"", "1.json": b'{"label": "a"}', "2.jpg": b"", "2.json": DEEP})},
        "2.jpg",
        "malformed row",
    ),
    *(
        (VOC, in_voc(xml), "b.jpg", "malformed annotation")
        for xml in (
            LAUGHS,
            OUTSIDE,
            b"<annotation>&undefined;</annotation>",
            b"<a>" * 100_000,
            b"<annotation><object>",
            b"<html></html>",
            b"",
            b"\x89PNG",
            voc_xml([("", 0, 0, 1, 1)]),
            voc_xml([("cat", 0, 0, 1, 1)]).replace(b"<xmin>0", b"<xmin>zero"),
        )
    ),
    (VOC, in_voc(b"") | {"c.jpg": b"", "b.xml": voc_xml([])}, "c.jpg", "no annotation"),
    (VOC, in_voc(voc_xml([])) | {"d.xml": voc_xml([])}, "d.xml", "missing file"),
    *(
        (YOLO, in_yolo(line), "b.jpg", "malformed annotation")
        for line in (
            b"0 0.5 0.5",
            b"cat 0 0 1 1",
            b"inf 0 0 1 1",
            b"\xff\xfe\0",
        )
    ),
    (YOLO, in_yolo(b"2 0 0 1 1"), "b.jpg", "label out of range"),
    (YOLO, in_yolo(b"-1 0 0 1 1"), "b.jpg", "label out of range"),
    (YOLO, in_yolo(b"") | {"z.txt": b""}, "z.txt", "missing file"),
    (COCO, {"a.jpg": b"", "i.json": coco_bytes()}, "none.jpg", "missing file"),
    *(
        (PIXEL_CSV, {"t.csv": PIXEL_ROWS.format(line).encode()}, "t.csv", "pixel out of range")
        for line in (
            "0,256",
            "0,-1",
            "0,0.5",
            "0,inf",
            "0,x",
        )
    ),
    (PIXEL_CSV, {"t.csv": PIXEL_ROWS.format("0").encode()}, "t.csv", "malformed row"),
]
"""data.source, the files that are there, and of which file which reason is told."""


def changes_of(source: Mapping[str, Any]) -> dict[str, Any]:
    return BOXES if source["kind"] in ("voc", "coco", "yolo") else {}


def digests(folder: Path) -> dict[str, str]:
    return {str(path): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def written(folder: Path, files: dict[str, bytes]) -> Path:
    """The path of a source: the file, if there is but one."""
    folder.mkdir()
    write_files(folder, files)
    return folder / next(iter(files)) if len(files) == 1 else folder


@pytest.mark.parametrize(("source", "files", "message"), REFUSED, ids=range(len(REFUSED)))
def test_it_is_refused(tmp_path: Path, source: dict[str, Any], files: dict[str, bytes], message: str) -> None:
    path = written(tmp_path / "raw", files)
    before = digests(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        read(path, source, **changes_of(source))
    assert len(str(caught.value)) < 1000
    assert digests(tmp_path) == before


@pytest.mark.parametrize(("source", "files", "file", "reason"), TOLD, ids=range(len(TOLD)))
def test_it_is_told_in_its_row(
    tmp_path: Path, source: dict[str, Any], files: dict[str, bytes], file: str, reason: str
) -> None:
    path = written(tmp_path / "raw", files)
    before = digests(tmp_path)
    changes = {"targets": {"label": {"field": "class", "column": "label"}}} | changes_of(source)
    assert (file, reason) in told(read(path, source, **changes))
    assert digests(tmp_path) == before
