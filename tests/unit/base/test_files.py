"""Writes are complete or absent; digests are of content."""

import csv
import errno
import io
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from pipeline.base.files import (
    atomic_dir,
    check_room,
    csv_text,
    locked,
    sha256_json,
    sha256_tree,
    to_json,
    write_atomic,
)
from pipeline.errors import DiskError, EspalierError
from pipeline.tracking.journal import Journal

NAMES = [
    "cat\r",
    "a\r\nb",
    "line\nbreak",
    'quo"te,comma',
    "tab\there",
    " space ",
    "",
    "日本語",
    "🐶",
    "$x^2$",
    "\0",
    "\x85",
    "\u2028",
]


def test_a_table_comes_back_as_it_was(tmp_path: Path) -> None:
    rows = [[name, other] for name in NAMES for other in NAMES]
    write_atomic(tmp_path / "t.csv", csv_text(["a\r", "b"], rows))
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["a\r", "b"], *rows]
    assert csv_text(["a"], [["plain"], [1]]) == "a\nplain\n1\n"


def test_the_writer_alone_loses_carriage_returns() -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["cat\r", "dog"])
    assert list(csv.reader(io.StringIO(text.getvalue(), newline=""))) != [["cat\r", "dog"]]


def test_an_error_inside_atomic_dir_leaves_the_old_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with atomic_dir(out) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(RuntimeError), atomic_dir(out) as folder:
        (folder / "a").write_text("new")
        raise RuntimeError
    assert (out / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_atomic_dir_replaces_the_whole_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("first", "second"):
        with atomic_dir(out) as folder:
            (folder / name).touch()
    assert [path.name for path in out.iterdir()] == ["second"]


def test_what_a_killed_writer_left_is_cleared(tmp_path: Path) -> None:
    stale = tmp_path / ".out.partial-abc"
    stale.mkdir()
    (stale / "half").touch()
    with atomic_dir(tmp_path / "out"):
        pass
    assert not stale.exists()


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "cannot be written")]
)
def test_a_full_or_read_only_disk_is_named_and_replaces_nothing(
    tmp_path: Path, code: int, words: str
) -> None:
    out = tmp_path / "out"
    with atomic_dir(out) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(EspalierError, match=words), atomic_dir(out):
        raise OSError(code, os.strerror(code))
    assert (out / "a").read_text() == "old"


def test_a_really_full_disk(tmp_path: Path) -> None:
    """/dev/full answers every write with ENOSPC, as a full disk does."""
    with (
        pytest.raises(EspalierError, match="the disk is full; nothing was replaced"),
        atomic_dir(tmp_path / "out"),
        Path("/dev/full").open("w") as full,
    ):
        full.write("x")
    assert not (tmp_path / "out").exists()


def test_write_atomic_replaces_and_leaves_no_sibling(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_atomic(path, "one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700), (0o002, 0o664, 0o775)]
)
def test_what_is_written_has_the_mode_that_the_umask_leaves(
    tmp_path: Path, umask: int, file: int, folder: int
) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "file", "x")
        with atomic_dir(tmp_path / "out") as partial:
            shutil.copytree(tmp_path / "private", partial, dirs_exist_ok=True)
            (partial / "sub").mkdir()
            (partial / "inner").touch()
        Journal(tmp_path / "journal").metrics({"a": 1.0})
    finally:
        os.umask(before)
    expected = dict.fromkeys(("file", "journal", "out/inner"), file) | dict.fromkeys(
        ("out", "out/sub"), folder
    )
    assert {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in expected} == expected


def test_tree_digest_follows_names_and_content_only(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder / "sub").mkdir(parents=True)
        (tmp_path / folder / "sub" / "f").write_text("1")
    (tmp_path / "y" / "sub" / "__pycache__").mkdir()
    (tmp_path / "y" / "sub" / "__pycache__" / "f.pyc").touch()
    assert sha256_tree(tmp_path / "x") == sha256_tree(tmp_path / "y")
    (tmp_path / "y" / "sub" / "f").rename(tmp_path / "y" / "sub" / "g")
    assert sha256_tree(tmp_path / "x") != sha256_tree(tmp_path / "y")


def test_digest_of_nothing_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EspalierError, match="absent does not exist"):
        sha256_tree(tmp_path / "absent")


def test_json_is_canonical() -> None:
    assert to_json({"b": 1, "a": [2]}) == to_json(dict(a=[2], b=1))
    assert sha256_json({"b": 1, "a": 2}) == sha256_json({"a": 2, "b": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(float("nan"))


def begun(write: Callable[[Path], AbstractContextManager[object]]) -> Callable[[Path], None]:
    """Enter the block and leave it."""

    def enter(path: Path) -> None:
        with write(path):
            pass

    return enter


@pytest.mark.parametrize(
    "write",
    [
        partial(write_atomic, content="x"),
        begun(atomic_dir),
        begun(partial(locked, wait_s=0.0, what="this")),
        lambda path: Journal(path).metrics({"x": 1.0}),
        lambda path: check_room(path.parent),
    ],
    ids=["file", "folder", "lock", "journal", "room"],
)
def test_a_place_that_may_not_be_written_is_named(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        DiskError, match=r"file/below.*: cannot be used \(a part of this path is a file.* Move that file away"
    ):
        write(tmp_path / "file" / "below" / "x")
    read_only = tmp_path / "read-only"
    read_only.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(read_only)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        return  # only root may make one
    try:
        with pytest.raises(
            DiskError,
            match=rf"{read_only}.*: cannot be written \(Read-only file system\).* use another folder",
        ):
            write(read_only / "x")
    finally:
        subprocess.run(["umount", str(read_only)], check=True)
