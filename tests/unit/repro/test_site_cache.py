"""DVC's pickled state lies where no other user can put a file."""

import ast
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.doctor.folders import dvc_site_cache
from pipeline.errors import EspalierError
from pipeline.repro.site_cache import VARIABLE, make_private, site_cache, use_site_cache
from tests.support.doctor_samples import says
from tests.support.places import ROOT

OTHER_USER = 4242
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to another user")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and no folder named by the environment."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CACHE_HOME", VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_dvc_is_sent_to_a_new_folder_that_only_this_user_enters(home: Path) -> None:
    use_site_cache()
    folder = Path(os.environ[VARIABLE])
    assert folder == site_cache() == home / ".cache/espalier/dvc-site"
    assert [mode(place) for place in (folder, *folder.parents[:3])] == [0o700] * 4


def test_a_folder_that_the_user_named_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/elsewhere")
    use_site_cache()
    assert os.environ[VARIABLE] == "/elsewhere"
    assert not home.exists()


def test_a_folder_that_was_open_is_closed_and_emptied_if_others_could_write(tmp_path: Path) -> None:
    for name, opened in {"read": 0o755, "group": 0o770, "all": 0o777}.items():
        (tmp_path / name / "repo").mkdir(parents=True)
        (tmp_path / name / "file").touch()
        (tmp_path / name / "link").symlink_to(tmp_path)
        (tmp_path / name).chmod(opened)
        make_private(tmp_path / name)
        assert mode(tmp_path / name) == 0o700
    left = {
        name: sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("read", "group", "all")
    }
    assert left == {"read": ["file", "link", "repo"], "group": [], "all": []}
    assert tmp_path.is_dir(), "a link in it is not followed"


def test_a_link_or_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(
            EspalierError, match=rf"{name}: it .*; remove it, or set XDG_CACHE_HOME to a folder of your own"
        ):
            make_private(tmp_path / name)


def test_a_folder_that_anybody_can_exchange_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(EspalierError, match=r"every user may write in .*open \(mode 0777\)"):
        make_private(tmp_path / "open/a/b/c/dvc-site")
    (tmp_path / "open").chmod(0o1777)  # as /tmp: who made something there is the only one who may exchange it
    assert make_private(tmp_path / "open/a/b/c/dvc-site").is_dir()


@as_root
@pytest.mark.parametrize("owned", ["dvc-site", "espalier", ".cache", "link"])
def test_what_another_user_made_before_is_refused(tmp_path: Path, owned: str) -> None:
    """Also the folders around it, and a link among them, if /tmp is the home folder, as it is in
    a container.
    """
    folder = tmp_path / ".cache/espalier/dvc-site"
    if owned == "link":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / ".cache").symlink_to("elsewhere")
        os.chown(tmp_path / ".cache", OTHER_USER, OTHER_USER, follow_symlinks=False)
    else:
        folder.mkdir(parents=True, mode=0o700)
        os.chown(
            next(path for path in (folder, *folder.parents) if path.name == owned), OTHER_USER, OTHER_USER
        )
    with pytest.raises(EspalierError, match=rf"belongs to another user \(uid {OTHER_USER}\)"):
        make_private(folder)


def test_doctor_names_an_open_one_and_its_remedy_works(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remedy is what `make setup` runs too."""
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    says(
        dvc_site_cache(root),
        "in /var/tmp, where every user may write",
        "`python -m pipeline.repro.site_cache`",
    )
    for _ in range(2):
        command = [sys.executable, "-m", "pipeline.repro.site_cache"]
        subprocess.run(command, cwd=root, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert mode(root / ".dvc/config.local") == 0o600
    assert dvc_site_cache(root).text == f"{home}/.cache/espalier/dvc-site is this user's alone"
    site_cache().chmod(0o777)
    says(dvc_site_cache(root), "others may write there (mode 0777)")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "not-yet"))
    says(dvc_site_cache(root), "not-yet is not there yet", f"unset {VARIABLE}")


def unprotected(code: str) -> list[str]:
    """Functions that open DVC's view of a project, or start a `dvc`, without a word of where its
    state lies.
    """
    functions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)]
    texts = {function.name: ast.unparse(function) for function in functions}
    starts = {name for name, text in texts.items() if re.search(r"\bRepo\(|'-m', 'dvc'", text)}
    return sorted(name for name in starts if "use_site_cache()" not in texts[name])


def test_whatever_starts_dvc_sends_it_there_before() -> None:
    """Those left out read or write DVC's settings, and no state."""
    files = sorted((ROOT / "pipeline").rglob("*.py"))
    found = {(path.name, name) for path in files for name in unprotected(path.read_text(encoding="utf-8"))}
    assert found == {
        ("folders.py", "dvc_cache"),
        ("folders.py", "dvc_site_cache"),
        ("site_cache.py", "configure"),
    }


def test_what_starts_dvc_unprotected_is_found() -> None:
    opens = "def a():\n    with Repo('.'):\n        pass\n"
    starts = (
        "def b():\n    run([sys.executable, '-m', 'dvc', 'repro'])\n\n\ndef c():\n    "
        "use_site_cache()\n    Repo()\n"
    )
    assert unprotected(opens + starts) == ["a", "b"]
