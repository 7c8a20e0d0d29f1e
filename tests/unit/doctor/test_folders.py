"""What `espalier doctor` says of folders and disks."""

import subprocess
from pathlib import Path

import pytest

from pipeline.doctor.folders import dvc_cache, folders, shared_memory, socket_paths
from pipeline.errors import EspalierError
from tests.support.doctor_samples import says

REFUSING = Path("/sys/kernel")
"""A folder in which nobody can make a file, root neither."""


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert folders([tmp_path, tmp_path / "to" / "come"], 0).state == "ok"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    says(folders([tmp_path, REFUSING], 0), f"{REFUSING} cannot be written")
    says(folders([tmp_path / "file" / "below"], 0), "cannot be written (Not a directory)")


def test_a_full_disk_is_a_problem(tmp_path: Path) -> None:
    says(folders([tmp_path], 10**18), "free, less than 1,000,000,000.0 GB; free some space")
    says(shared_memory(tmp_path, 10**18), "start the container with --shm-size=2g")
    assert shared_memory(tmp_path, 0).state == "ok"
    assert shared_memory(tmp_path / "none").state == "skipped"


def test_the_cache_of_a_folder_without_dvc_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EspalierError, match=r"`dvc cache dir` fails .*; run this in the project's folder"):
        dvc_cache(tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[cache]\n    dir = ../elsewhere\n")
    assert dvc_cache(tmp_path) == tmp_path / "elsewhere"


def test_a_long_path_for_sockets_is_a_problem() -> None:
    """With 20 bytes Ray 2.60 started and had sockets of 105, with a pid of four digits; with 24
    it refused.
    """
    assert socket_paths(Path("/tmp")).state == "ok"
    assert socket_paths(Path("/" + "x" * 18)).state == "ok"
    says(socket_paths(Path("/" + "x" * 19)), "has 20 bytes and may have 19", "set TMPDIR")
    says(socket_paths(Path("/" + "ä" * 10)), "has 21 bytes")
