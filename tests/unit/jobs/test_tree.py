"""What a submission sends: what git knows of, and nothing that it ignores."""

import subprocess
from pathlib import Path

import pytest

from pipeline.errors import SubmitError
from pipeline.jobs.tree import changes, commit, copy_tree
from tests.support.submit_samples import repository, run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return repository(tmp_path / "work" / "project")


def sent(root: Path, target: Path) -> dict[str, str]:
    copy_tree(root, target)
    return {
        path.relative_to(target).as_posix(): path.read_text() for path in target.rglob("*") if path.is_file()
    }


def test_tracked_changed_and_new_files_are_sent_and_deleted_ones_are_not(root: Path, tmp_path: Path) -> None:
    (root / "gone.py").write_text("")
    run(root, "git", "add", "gone.py")
    (root / "gone.py").unlink()
    (root / "code.py").write_text("x = 2\n")
    (root / "new folder").mkdir()
    (root / "new folder" / "näw.py").write_text("new")
    assert sent(root, tmp_path / "tree") == {
        ".gitignore": (root / ".gitignore").read_text(),
        "code.py": "x = 2\n",
        "new folder/näw.py": "new",
    }
    assert sorted(line[:2] for line in changes(root)) == [" M", "??", "AD"]


def test_what_git_ignores_stays_here(root: Path, tmp_path: Path) -> None:
    for name in (".env", "data/raw.csv", ".espalier/runs/x", "__pycache__/code.pyc"):
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text("secret")
    assert sorted(sent(root, tmp_path / "tree")) == [".gitignore", "code.py"]
    assert changes(root) == []


def test_credentials_and_caches_of_dvc_stay_here_also_where_no_gitignore_says_so(
    root: Path, tmp_path: Path
) -> None:
    for name in ("config", "config.local", "cache/files/md5/00/1", "tmp/lock"):
        (root / ".dvc" / name).parent.mkdir(exist_ok=True, parents=True)
        (root / ".dvc" / name).write_text("secret")
    assert sorted(sent(root, tmp_path / "tree")) == [".dvc/config", ".gitignore", "code.py"]
    assert changes(root) == ["?? .dvc/config"]


def test_of_a_larger_repository_the_projects_folder_is_sent(root: Path, tmp_path: Path) -> None:
    (root / "part").mkdir()
    (root / "part" / "inner.py").write_text("")
    assert sorted(sent(root / "part", tmp_path / "tree")) == ["inner.py"]
    (root / "code.py").write_text("x = 2\n")
    assert changes(root / "part") == ["?? inner.py"]


def test_a_link_to_a_file_that_is_sent_is_sent_as_that_file(root: Path, tmp_path: Path) -> None:
    (root / "link.py").symlink_to("code.py")
    assert sent(root, tmp_path / "tree")["link.py"] == "x = 1\n"


@pytest.mark.parametrize("target", ["../outside", "/etc/passwd", ".env", "nowhere", "link", "folder", "."])
def test_a_link_to_anything_else_is_refused(root: Path, tmp_path: Path, target: str) -> None:
    for name in (tmp_path / "work" / "outside", root / ".env", root / "folder" / "file"):
        name.parent.mkdir(exist_ok=True)
        name.write_text("secret")
    (root / "link").symlink_to(target)
    with pytest.raises(
        SubmitError, match=r"link is a link to .*, which is not among the files to send; remove the link"
    ):
        copy_tree(root, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_a_repository_inside_is_named(root: Path, tmp_path: Path) -> None:
    repository(root / "inner")
    with pytest.raises(SubmitError, match=r"inner/ is a git repository of its own, whose files are not sent"):
        copy_tree(root, tmp_path / "tree")


def test_too_much_is_refused_and_the_largest_file_named(root: Path, tmp_path: Path) -> None:
    (root / "small.bin").write_bytes(b"\0" * 1_500_000)
    (root / "large.bin").write_bytes(b"\0" * 2_500_000)
    with pytest.raises(
        SubmitError,
        match=r"are 4 MB, and 3 MB are allowed; the largest is large.bin. Track data with `dvc add`",
    ):
        copy_tree(root, tmp_path / "tree", largest_bytes=3_000_000)


def test_the_result_of_a_run_is_no_change(root: Path) -> None:
    (root / "dvc.lock").write_text("schema: '2.0'\n")
    assert changes(root) == []


def test_without_a_repository_or_a_commit_it_is_said_what_to_do(root: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(
        SubmitError, match=r"what git knows of, and `git rev-parse` says: fatal: not a git repository"
    ):
        commit(tmp_path / "bare")
    subprocess.run(["git", "init", "-q", str(tmp_path / "bare")], check=True)
    with pytest.raises(SubmitError, match=r"bare has no commit to submit; commit your work first"):
        commit(tmp_path / "bare")
    assert len(commit(root)) == 40


def test_without_git_it_is_said_so(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SubmitError, match="git is not installed"):
        commit(root)
