"""A folder a class: what is a class, what a split, what an image, and what is left out."""

import os
from pathlib import Path

import pytest

from pipeline.data.intake.opening import open_source
from pipeline.data.intake.trees.blob import FileBlob, content
from pipeline.images.defect import Defect
from tests.support.data_samples import data_params, png
from tests.support.source_samples import FOLDER, classes_of_pngs, left_out, read, told, write_files


def test_a_folder_is_a_class_however_deep_its_images_lie(tmp_path: Path) -> None:
    files = {"cat/1.png": b"1", "cat/old/2.JPG": b"2", "dog/a/b/3.jpeg": b"3", "dog/noname": b"4"}
    found = read(write_files(tmp_path, files), slice_columns=["folder"])
    assert found.files == ["cat/1.png", "cat/old/2.JPG", "dog/a/b/3.jpeg", "dog/noname"]
    assert found.cells["label"] == ["cat", "cat", "dog", "dog"]
    assert found.cells["folder"] == ["cat", "cat/old", "dog/a/b", "dog"]
    assert found.images == [b"1", b"2", b"3", b"4"]
    assert (found.rows, {*found.splits}) == ([0] * 4, {"train"})


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "valid", "TEST"), ("train", "dev")])
def test_folders_of_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        write_files(tmp_path, classes_of_pngs(2, f"{name}/"))
    found = read(tmp_path)
    assert found.splits == [split for split in ("train", "val", "test")[: len(names)] for _ in range(2)]
    assert found.cells["label"] == ["cat", "dog"] * len(names)


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    found = read(write_files(tmp_path, {"bus/1.png": b"1", "train/2.png": b"2"}))
    assert (found.cells["label"], {*found.splits}) == (["bus", "train"], {"train"})


def test_folders_around_all_of_it_are_no_class(tmp_path: Path) -> None:
    found = read(
        write_files(tmp_path, classes_of_pngs(2, "a/photos/") | {"README": b"", "a/LICENSE.txt": b""})
    )
    assert found.cells["label"] == ["cat", "dog"]
    assert read(write_files(tmp_path, classes_of_pngs(2, "a/photos/train/"))).cells["label"] != ["cat", "dog"]


def test_what_is_no_image_is_counted_apart(tmp_path: Path) -> None:
    hidden = [".DS_Store", "cat/Thumbs.db", "cat/._1.png", "__MACOSX/cat/x.png", ".git/a/b", "cat/0.png~"]
    others = {"cat/notes.TXT": b"", "labels.csv": b"", "cat/1.json": b"", "LICENSE": b""}
    write_files(tmp_path, classes_of_pngs(2) | dict.fromkeys(hidden, b"") | others)
    (tmp_path / "empty").mkdir()
    assert read(tmp_path).files == ["cat/0.png", "dog/1.png"]
    assert left_out(tmp_path) == {
        "hidden or system files": 6,
        "empty folders": 1,
        "files of kind .txt": 1,
        "files of kind .csv": 1,
        "files of kind .json": 1,
        "files of kind ": 1,
    }


def test_what_cannot_be_read_is_told_in_its_row(tmp_path: Path) -> None:
    root = write_files(tmp_path / "root", classes_of_pngs(2) | {"stray.jpg": png(1)})
    elsewhere = write_files(tmp_path / "elsewhere", {"cat.png": png(9), "pictures/1.png": png(9)})
    os.mkfifo(root / "cat" / "fifo.png")
    (root / "cat" / "inside.png").symlink_to(root / "dog" / "1.png")
    (root / "cat" / "outside.png").symlink_to(elsewhere / "cat.png")
    (root / "cat" / "nowhere.png").symlink_to("absent.png")
    (root / "cat" / "folder").symlink_to(elsewhere / "pictures")
    found = read(root)
    assert told(found) == [
        ("cat/fifo.png", "not a regular file"),
        ("cat/folder", "link out of the folder"),
        ("cat/nowhere.png", "missing file"),
        ("cat/outside.png", "link out of the folder"),
        ("stray.jpg", "no class"),
    ]
    assert found.images[found.files.index("cat/inside.png")] == png(1)


def test_a_file_that_vanishes_or_changes_while_others_are_read(tmp_path: Path) -> None:
    write_files(tmp_path, classes_of_pngs(3))
    with open_source(data_params(source=FOLDER), tmp_path) as source:
        (tmp_path / "cat/0.png").unlink()
        (tmp_path / "cat/2.png").unlink()
        (tmp_path / "cat/2.png").mkdir()
        (batch,) = source.pieces[0].read()
    assert told(batch) == [("cat/0.png", "missing file"), ("cat/2.png", "not a regular file")]


def test_an_image_larger_than_any(tmp_path: Path) -> None:
    write_files(tmp_path, {"0.png": b"12345"})
    assert content(FileBlob(str(tmp_path), "0.png"), most=5) == b"12345"
    with pytest.raises(Defect, match="more than 4 bytes"):
        content(FileBlob(str(tmp_path), "0.png"), most=4)


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    write_files(tmp_path, classes_of_pngs(2))
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/cat/caf\xe9\n.png"))
    odd.write_bytes(png(2))
    found = read(tmp_path)
    assert (found.files[1], found.images[1]) == ("cat/caf\ufffd\ufffd.png", png(2))


def test_class_names_beside_the_classes(tmp_path: Path) -> None:
    write_files(tmp_path, classes_of_pngs(2) | {"classes.json": b'["dog", "cat"]'})
    assert read(tmp_path).cells["label"] == ["cat", "dog"]
    assert left_out(tmp_path) == {}
