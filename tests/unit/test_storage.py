"""Storage on a disk; on a bucket it is in tests/cluster, where a whole run goes through it."""

import os
import socket
from pathlib import Path

import pytest

from pipeline.base.files import sha256_json, to_json
from pipeline.errors import StorageError
from pipeline.storage import DIGEST_DIGITS, TREE_NAME, Storage
from tests.support.limited import run_limited
from tests.support.places import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "model.json").write_text("{}")
    (tmp_path / "model" / "deep" / "weights").write_bytes(b"\0" * 100)
    return tmp_path / "model"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    (tmp_path / "shared").mkdir()
    return Storage(str(tmp_path / "shared"))


def test_what_is_written_is_read_listed_and_removed(storage: Storage, folder: Path, tmp_path: Path) -> None:
    storage.write("a/b.txt", b"hello")
    storage.put(folder / "model.json", "a/c.json")
    assert storage.read("a/b.txt") == b"hello"
    assert storage.read("a/none") is None
    assert storage.names() == ["a/b.txt", "a/c.json"]
    assert storage.below("a").names() == ["b.txt", "c.json"]
    assert storage.names("elsewhere") == []
    storage.get("a/c.json", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "{}"
    storage.remove("a/b.txt")
    storage.remove("a/b.txt")
    assert storage.names() == ["a/c.json"]


def test_a_store_that_is_not_there_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all attempts this would take more than a minute."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and nobody listens
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "x")
        with pytest.raises(
            StorageError, match=r"cannot read s3://bucket/prefix/probe-\w+: Could not connect to the endpoint"
        ):
            Storage("s3://bucket/prefix").check(first_attempts=1)


def test_a_folder_is_stored_once_under_its_digest_and_comes_back(
    storage: Storage, folder: Path, tmp_path: Path
) -> None:
    digest = storage.add_tree(folder)
    assert storage.add_tree(folder) == digest
    assert storage.below(digest).names() == ["deep/weights", "model.json", TREE_NAME]
    copy = storage.fetch_tree(digest, tmp_path / "cache")
    assert (copy / "deep" / "weights").read_bytes() == b"\0" * 100
    assert sorted(path.name for path in copy.rglob("*")) == ["deep", "model.json", "weights"]


def test_a_single_file_is_a_folder_of_one(storage: Storage, folder: Path, tmp_path: Path) -> None:
    copy = storage.fetch_tree(storage.add_tree(folder / "model.json"), tmp_path / "cache")
    assert [path.name for path in copy.iterdir()] == ["model.json"]


def test_a_copy_that_changed_is_fetched_again(storage: Storage, folder: Path, tmp_path: Path) -> None:
    digest = storage.add_tree(folder)
    copy = storage.fetch_tree(digest, tmp_path / "cache")
    (copy / "deep" / "weights").write_bytes(b"\1" * 100)
    again = storage.fetch_tree(digest, tmp_path / "cache")
    assert (again / "deep" / "weights").read_bytes() == b"\0" * 100


@pytest.mark.parametrize("content", [b"", b'{"model.json": ', b"[5]", b'{"model.json": 5}', b"{}", b"\xff"])
def test_a_damaged_list_of_files_is_refused(
    storage: Storage, folder: Path, tmp_path: Path, content: bytes
) -> None:
    digest = storage.add_tree(folder)
    storage.write(f"{digest}/{TREE_NAME}", content)
    with pytest.raises(StorageError, match="is not what was sent; remove it and run the stage again"):
        storage.fetch_tree(digest, tmp_path / "cache")


def test_a_stored_folder_that_changed_is_refused(storage: Storage, folder: Path, tmp_path: Path) -> None:
    digest = storage.add_tree(folder)
    storage.write(f"{digest}/model.json", b"{ }")
    with pytest.raises(StorageError, match="is not what was sent; remove it and run the stage again"):
        storage.fetch_tree(digest, tmp_path / "cache")
    assert not (tmp_path / "cache" / digest).exists()


def test_a_folder_that_was_not_sent_to_its_end_is_sent_again(
    storage: Storage, folder: Path, tmp_path: Path
) -> None:
    digest = storage.add_tree(folder)
    storage.remove(f"{digest}/{TREE_NAME}")
    with pytest.raises(StorageError, match="is gone or incomplete; run the stage again"):
        storage.fetch_tree(digest, tmp_path / "cache")
    assert storage.add_tree(folder) == digest
    assert storage.fetch_tree(digest, tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../outside"])
def test_a_list_of_files_cannot_lead_out_of_the_folder(storage: Storage, tmp_path: Path, name: str) -> None:
    listed = {name: "0" * 64}
    digest = sha256_json(listed)[:DIGEST_DIGITS]
    storage.write(f"{digest}/{TREE_NAME}", to_json(listed).encode())
    with pytest.raises(StorageError, match="leads out of its folder"):
        storage.fetch_tree(digest, tmp_path / "cache" / "deep")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    "digest", ["../outside", "", "a/b", "0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n", "\ufffd"]
)
def test_what_is_no_digest_makes_no_folder(storage: Storage, tmp_path: Path, digest: str) -> None:
    with pytest.raises(StorageError, match=r"for a digest; it was tampered with"):
        storage.fetch_tree(digest, tmp_path / "deep" / "cache")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shared"]


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*file/below/a: .*check resources.storage"):
        Storage(str(tmp_path / "file" / "below")).write("a", b"")
    with pytest.raises(
        StorageError,
        match=r"resources.storage: nothing://x is no storage known here .*use a folder or s3://bucket/prefix",
    ):
        Storage("nothing://x").read("a")


def test_a_place_is_tried_before_it_is_used(storage: Storage, tmp_path: Path) -> None:
    storage.check()
    assert storage.names() == []
    with pytest.raises(
        StorageError, match=r"nowhere is no folder on this machine; mount it here and on every node"
    ):
        Storage(str(tmp_path / "nowhere")).check()
    assert not (tmp_path / "nowhere").exists()


def test_a_full_disk_is_found_before_it_is_used(small_disk: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*/disk/probe-\w+: .*the disk is full"):
        Storage(str(small_disk)).check()
    assert [path.name for path in small_disk.iterdir()] == ["full"]


def test_a_place_that_takes_no_larger_file_is_found_before_it_is_used(storage: Storage) -> None:
    """As a full disk does, for those who may not mount one."""
    program = (
        "import sys; from pipeline.errors import StorageError; from pipeline.storage import Storage\n"
        "Storage(sys.argv[1]).write('short', b'x')\n"
        "try: Storage(sys.argv[1]).check()\n"
        "except StorageError as error: print(error)\n"
    )
    done = run_limited(program, storage.url, most_bytes=4096, environment=dict(os.environ))
    assert "cannot write" in done.stdout, done.stderr
    assert "has room" in done.stdout
    assert storage.names() == ["short"]


def test_a_process_that_may_write_no_larger_file_leaves_no_bytecode_behind(tmp_path: Path) -> None:
    (tmp_path / "large.py").write_text(f"text = {'x' * 5_000!r}")
    words = "import sys; sys.path.insert(0, sys.argv[1]); import large; print(len(large.text))"
    done = run_limited(words, str(tmp_path), most_bytes=4096, environment=dict(os.environ))
    assert (done.stdout, done.stderr) == ("5000\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["large.py"]


def test_only_such_a_process_has_a_limit() -> None:
    tests = ROOT / "tests"
    assert [
        path.name for path in tests.rglob("*.py") if "setr" + "limit" in path.read_text(encoding="utf-8")
    ] == ["limited.py"]


def test_a_file_in_the_place_of_a_folder_is_a_storage_error(storage: Storage) -> None:
    storage.write("a", b"")
    with pytest.raises(StorageError, match=r"cannot write .*shared/a/b: .*check resources.storage"):
        storage.write("a/b", b"")
    with pytest.raises(StorageError, match=r"cannot write .*shared/dir: .*cannot be written"):
        (Path(storage.url) / "dir" / "x").mkdir(parents=True)
        storage.write("dir", b"")


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(StorageError) as caught:
        Storage("nothing://me:secret@host/x").read("a")
    assert "secret" not in str(caught.value)
    assert "nothing://host/x" in str(caught.value)
