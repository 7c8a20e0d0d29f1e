"""DVC's own files, cut off as a kill leaves them: what DVC says, that it starts again, and when they are let
be.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from pipeline.base.files import locked
from pipeline.errors import EspalierError, LockedError
from pipeline.repro.mend import DAMAGED, DEAD_S, RWLOCK, faults_of_dvc, mend, mending
from tests.support.places import ROOT
from tests.support.project import until
from tests.support.submit_samples import commit, environment, repository

DVC_YAML = """
stages:
  first: {cmd: cp raw one, deps: [raw], outs: [one]}
  second: {cmd: cp one two, deps: [one], outs: [two]}
"""
CONFIG = "[core]\n    analytics = false\n    autostage = false\n"
Damage = Callable[[Path], object]


def run(root: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environ = {name: value for name, value in environment().items() if not name.startswith("DVC_")}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=root, env=environ, check=False, capture_output=True, text=True
    )


def forget_first(root: Path) -> None:
    """Give the first stage something to do, which DVC's notes of runs know."""
    (root / "one").unlink()
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    del lock["stages"]["first"]
    (root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))


def write(name: str, content: bytes) -> Damage:
    def damage(root: Path) -> None:
        forget_first(root)
        (root / name).write_bytes(content)

    return damage


def cut_notes(root: Path) -> None:
    """DVC is killed after it made a note's folder, and before the note."""
    forget_first(root)
    for note in [path for path in (root / ".dvc/cache/runs").rglob("*") if path.is_file()]:
        note.unlink()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After a repro whose dvc.lock is committed."""
    root = repository(tmp_path_factory.mktemp("made") / "project")
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "raw").write_text("raw\n")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text(CONFIG)
    (root / ".dvc" / ".gitignore").write_text("/tmp\n/cache\n")
    assert run(root, "dvc", "repro").returncode == 0
    commit(root)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "project"))


DAMAGES: dict[str, tuple[Damage, str]] = {
    "no byte in rwlock": (
        write(RWLOCK, b""),
        "Unable to read RWLock-file '.dvc/tmp/rwlock'. JSON structure is corrupted",
    ),
    "rwlock of another form": (write(RWLOCK, b"null"), "RWLock-file '.dvc/tmp/rwlock' format error"),
    "no byte in dvc.lock": (write("dvc.lock", b""), "'./dvc.lock' validation failed"),
    "dvc.lock of zeros": (write("dvc.lock", bytes(60)), "unable to read: 'dvc.lock'"),
    "a folder without its note": (cut_notes, "not 'NoneType'"),
}
"""With DVC's words, which README has too."""
OTHERS: dict[str, Damage] = {
    "rwlock cut off": write(RWLOCK, b'{"write": {"/a/one": {"pid": 12'),
    "rwlock of zeros": write(RWLOCK, bytes(60)),
    "dvc.lock cut off": write("dvc.lock", b"schema: '2.0'\nstages:\n  first:\n    cm"),
    "dvc.lock without a part": write("dvc.lock", b"schema: '2.0'\nstages:\n  first:\n    deps:\n"),
    "dvc.lock that is no text": write("dvc.lock", b"\xff\xfe"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_dvc_fails_with_the_words_that_are_told_and_the_remedy_works(root: Path, name: str) -> None:
    damage, words = DAMAGES[name]
    damage(root)
    assert words in run(root, "dvc", "repro").stderr
    assert mend(root)
    done = run(root, "dvc", "repro")
    assert done.returncode == 0, done.stderr
    assert list(faults_of_dvc(root)) == []


@pytest.mark.parametrize("name", OTHERS)
def test_other_ways_to_be_cut_off_are_found_and_mended(root: Path, name: str) -> None:
    OTHERS[name](root)
    assert len(mend(root)) == 1
    assert mend(root) == []


def test_the_command_says_what_it_did_and_whether_it_did_anything(root: Path) -> None:
    (root / RWLOCK).write_text("")
    done, again = (run(root, "pipeline.cli", "mend") for _ in range(2))
    assert (done.returncode, done.stderr) == (
        0,
        "espalier: .dvc/tmp/rwlock was left by a dvc that is dead, and is removed\n",
    )
    assert (again.returncode, again.stdout) == (1, "nothing of DVC's is damaged\n")


def test_espalier_repro_mends_by_itself(root: Path) -> None:
    cut_notes(root)
    done = run(root, "pipeline.cli", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(faults_of_dvc(root)) == []
    assert (root / "one").exists()


def test_make_repro_mends_by_itself_and_says_nothing_of_it_after_another_failure(root: Path) -> None:
    """The words of its recipe, with this interpreter's tools."""
    makefile = (ROOT / "Makefile").read_text()
    found = re.search(r"^repro:.*\n\t@(.*)\n", makefile, re.MULTILINE)
    assert found is not None

    def make() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-c", found[1]], cwd=root, env=environment(), check=False, capture_output=True, text=True
        )

    DAMAGES["no byte in rwlock"][0](root)
    done = make()
    assert done.returncode == 0, done.stderr
    assert "is removed" in done.stderr
    (root / "raw").unlink()
    failed = make()
    assert failed.returncode == 1
    assert "espalier" not in failed.stdout + failed.stderr


def test_a_damaged_dvc_lock_is_kept_and_the_committed_one_comes_back(root: Path) -> None:
    before = (root / "dvc.lock").read_bytes()
    (root / "dvc.lock").write_bytes(before[:100])
    assert mend(root) == [
        f"dvc.lock was damaged (kept as {DAMAGED}), and is as committed; DVC finds in its cache what was "
        "made since"
    ]
    assert (root / "dvc.lock").read_bytes() == before
    assert (root / DAMAGED).read_bytes() == before[:100]


def test_without_a_readable_one_in_git_nothing_is_made_again(root: Path) -> None:
    """What was made comes from the cache, by DVC's notes."""
    (root / "dvc.lock").write_bytes(b"")
    commit(root)
    (said,) = mend(root)
    assert "and is removed" in said
    done = run(root, "dvc", "repro")
    assert done.stdout.count("is cached - skipping run") == 2


def test_a_merge_that_a_person_has_to_end_is_let_be(root: Path) -> None:
    text = f"<<<<<<< HEAD\n{(root / 'dvc.lock').read_text()}=======\n>>>>>>> other\n"
    (root / "dvc.lock").write_text(text)
    assert mend(root) == []
    assert (root / "dvc.lock").read_text() == text


def test_cut_off_copies_in_the_cache_are_removed_once_they_are_old(root: Path) -> None:
    copies = [root / ".dvc/cache/files/md5" / name for name in (".a1b2.tmp", ".c3d4.tmp")]
    for copy in copies:
        copy.write_bytes(b"half")
    old = time.time() - DEAD_S - 1
    os.utime(copies[0], (old, old))
    assert mend(root) == ["1 cut-off copies in DVC's cache are removed"]
    assert [copy.exists() for copy in copies] == [False, True]


def rwlock_naming(root: Path, pid: int) -> None:
    (root / RWLOCK).write_text(
        json.dumps({"write": {str(root / "one"): {"pid": pid, "cmd": "dvc repro"}}, "read": {}})
    )


def test_a_zombie_that_dvc_would_wait_for_is_taken_out(root: Path) -> None:
    forget_first(root)
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        until(lambda: psutil.Process(dead.pid).status() == psutil.STATUS_ZOMBIE, "it is a zombie", 10)
        rwlock_naming(root, dead.pid)
        assert "you can manually remove" in run(root, "dvc", "repro").stderr
        assert mend(root)
        assert run(root, "dvc", "repro").returncode == 0


def test_a_dying_one_that_is_gone_before_we_look_is_taken_out_too(root: Path) -> None:
    """Else `make repro` would see nothing to mend, and not try again."""
    forget_first(root)
    with subprocess.Popen([sys.executable, "-c", ""]) as dying:
        until(lambda: psutil.Process(dying.pid).status() == psutil.STATUS_ZOMBIE, "it is a zombie", 10)
        rwlock_naming(root, dying.pid)
        assert "you can manually remove" in run(root, "dvc", "repro").stderr
    assert [fault.found for fault in faults_of_dvc(root)] == []
    assert mend(root) == [f"{RWLOCK} was left by a dvc that is dead, and is removed"]
    assert run(root, "dvc", "repro").returncode == 0
    assert mend(root) == []


@pytest.mark.parametrize("zombie", [False, True])
def test_while_a_dvc_lives_nothing_is_touched(root: Path, zombie: bool) -> None:
    """By its command line and folder; a zombie does not live."""
    code = "import time; time.sleep(600)"
    (root / "dvc").write_text(code)
    (root / RWLOCK).write_text("")
    with subprocess.Popen([sys.executable, "dvc", "repro"], cwd=root) as other:
        if zombie:
            other.kill()
            until(lambda: psutil.Process(other.pid).status() == psutil.STATUS_ZOMBIE, "it is a zombie", 10)
            assert mend(root, wait_s=0.0)
        else:
            with pytest.raises(LockedError, match=rf"a dvc works here \(pid {other.pid}\)"):
                mend(root, wait_s=0.0)
            assert (root / RWLOCK).exists()
        other.kill()


def test_while_dvcs_lock_is_held_nothing_is_touched(root: Path) -> None:
    (root / RWLOCK).write_text("")
    with (
        locked(root / ".dvc/tmp/lock", wait_s=0, what="dvc"),
        pytest.raises(LockedError, match="files of DVC that are damaged"),
    ):
        mend(root, wait_s=0.0)
    assert (root / RWLOCK).exists()


def test_a_failure_of_another_kind_is_told_once(root: Path) -> None:
    attempts = []

    def work() -> None:
        attempts.append(1)
        raise EspalierError("a stage failed")

    with pytest.raises(EspalierError, match="a stage failed"):
        mending(root, work)
    assert len(attempts) == 1
    (root / RWLOCK).write_text("")
    with pytest.raises(EspalierError, match="a stage failed"):
        mending(root, work)
    assert len(attempts) == 3, "once more after something was mended"
