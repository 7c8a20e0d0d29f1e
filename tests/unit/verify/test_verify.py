"""What dvc.lock and the cache name is read; what is damaged is named, and the remedy that is named works, by
real dvc.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.verify.verify import verify
from tests.support import damage

DVC = """
stages:
  make:
    cmd: mkdir -p out/below && tr a-z A-Z < src > out/below/a && cp src out/b && echo make >> runs
    deps: [src]
    outs: [out]
  use:
    cmd: cat out/below/a out/b > final && echo use >> runs
    deps: [out]
    outs: [final]
"""
OBJECTS = {"final": "1f/697841b2dc944f65f92778726af7f8", "out/b": "b1/946ac92492d2347c6235b4d2611184"}
"""Of src "hello": where the cache has what is in these files."""
GOOD = {"final": "HELLO\nhello\n", "out/below/a": "HELLO\n", "out/b": "hello\n"}


def dvc(root: Path, *words: str) -> str:
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project that has run, with DVC's table of digests in a folder of its own."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(root / ".dvc/site"))
        (root / "dvc.yaml").write_text(DVC)
        (root / "src").write_text("hello\n")
        dvc(root, "init", "-q", "--no-scm")
        dvc(root, "repro", "-q")
        yield root


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    shutil.copytree(made, root)
    monkeypatch.chdir(root)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(root / ".dvc/site"))
    return root


def found(root: Path, *, mend: bool = False) -> tuple[bool, list[str]]:
    said: list[str] = []
    return verify(root, said.append, mend=mend), said


def cached(root: Path, name: str) -> Path:
    cache = root / ".dvc/cache/files/md5"
    return cache / OBJECTS[name] if name in OBJECTS else next(cache.glob("*/*.dir"))


def spoil(path: Path, how: Callable[[Path], object]) -> None:
    """Damage that changes neither times nor permissions, as a disk does it."""
    before = path.stat()
    path.chmod(0o644)
    how(path)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_whole_project_is_whole(project: Path) -> None:
    well, said = found(project)
    assert well
    assert said == [
        "outs, inputs and cached objects, 0 MB of them in the cache: all 9 are as they were written"
    ]


@pytest.mark.parametrize("how", [damage.flip, damage.truncate, damage.zero, lambda path: path.write_text("")])
@pytest.mark.parametrize("name", ["final", "out", "out/b"])
def test_a_damaged_object_is_named_and_comes_back_from_the_workspace(
    project: Path, name: str, how: Callable[[Path], object]
) -> None:
    spoiled = cached(project, name)
    spoil(spoiled, how)
    well, said = found(project)
    assert not well
    path = spoiled.relative_to(project)
    assert said[0] == f"{path}: damaged in DVC's cache: its content is not what its name says"
    assert said[-1].startswith("`espalier verify --mend` takes all of it out")
    well, said = found(project, mend=True)
    assert well
    assert f"{name.partition('/')[0]}: put back into the cache" in said
    assert found(project)[0]


@pytest.mark.parametrize("name", ["final", "out/below/a", "out/b"])
def test_a_damaged_out_that_dvc_does_not_see_comes_back_from_the_cache(project: Path, name: str) -> None:
    spoil(project / name, damage.flip)
    well, said = found(project)
    assert not well
    assert said[0] == f"{name}: not what its stage left: damaged or edited"
    assert f"{name.partition('/')[0]}: put back from the cache" in found(project, mend=True)[1]
    assert found(project)[0]
    assert (project / name).read_text() == GOOD[name]


def test_what_is_damaged_everywhere_is_made_again_and_nothing_else(project: Path) -> None:
    """To force the stage alone brings the rotten bytes back, as `dvc checkout` does, and DVC calls all up to
    date.
    """
    spoil(cached(project, "final"), lambda path: path.write_text("rotten\n"))
    dvc(project, "repro", "-q", "-f", "-s", "use")
    assert (project / "final").read_text() == "rotten\n"
    assert any("final: removed; `dvc repro` makes it again" in line for line in found(project, mend=True)[1])
    (project / "runs").unlink()
    dvc(project, "repro", "-q")
    assert (project / "final").read_text() == GOOD["final"]
    assert (project / "runs").read_text() == "use\n"
    assert found(project)[0]


def test_a_damaged_note_of_the_run_cache_is_taken_out(project: Path) -> None:
    note = next((project / ".dvc/cache/runs").glob("*/*/*"))
    damage.edit(note, "hash: md5", "hash: mdx")
    well, said = found(project)
    assert not well
    assert said[0].endswith(": damaged note of DVC's run cache")
    found(project, mend=True)
    assert not note.exists()
    assert found(project)[0]


def test_a_changed_input_is_named_and_left_alone(project: Path) -> None:
    (project / "src").write_text("other\n")
    for mend in (False, True):
        well, said = found(project, mend=mend)
        assert not well
        assert said[0].startswith(
            "src: not what the stages read that dvc.lock tells of; if you did not change it, bring it back"
        )
    assert (project / "src").read_text() == "other\n"
