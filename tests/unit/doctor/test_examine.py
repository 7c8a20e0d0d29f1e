"""`espalier doctor` as a whole: a line for each check, the exit status, and nothing secret."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.doctor import examine
from pipeline.doctor.finding import CheckResult, ok
from pipeline.doctor.ports import Port
from tests.support.places import ROOT
from tests.support.tracked_project import free_port

FILES = ("params.yaml", "dvc.yaml", "requirements.txt", "pyproject.toml", ".dvc/config")
OURS = ("RAY_", "MLFLOW_", "AWS_", "DVC_")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh project, with a temporary folder of its own; this process works there."""
    (tmp_path / ".dvc").mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(examine, "PORTS", (Port(free_port(), "a page", "", ""),))
    monkeypatch.setattr(sys, "argv", ["espalier", "doctor"])
    monkeypatch.chdir(tmp_path)
    with tempfile.TemporaryDirectory(prefix="d-") as temporary:
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        monkeypatch.setenv("DVC_SITE_CACHE_DIR", temporary)
        yield tmp_path


def states(text: str) -> dict[str, str]:
    """State by name; continuation lines are indented."""
    return {line[9:24].strip(): line[:9].strip() for line in text.splitlines() if not line.startswith(" ")}


def test_a_fresh_project_has_no_problem(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(project.rglob("*"))
    main()
    found = states(capsys.readouterr().out)
    assert set(found.values()) == {"ok", "skipped"}
    assert {name for name, state in found.items() if state == "skipped"} == {
        *("Ray cluster", "Ray jobs", "Ray token", "storage", "DVC remote", "MLflow")
    }
    assert [
        path for path in sorted(project.rglob("*")) if path not in before and "tmp" not in path.parts
    ] == []


def test_problems_are_counted_and_end_with_1(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(
        text.replace("storage: null", f"storage: {project}/none").replace("epochs", "epocs")
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:1")
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    with pytest.raises(SystemExit) as ended:
        main()
    out = capsys.readouterr().out
    wrong = {name for name, state in states(out).items() if state == "problem"}
    assert wrong == {"params.yaml", "Ray cluster", "Ray token", "storage", "DVC remote", "MLflow"}
    assert ended.value.code == f"espalier doctor: {len(wrong)} problems, each with its remedy above"
    assert out.count("did you mean 'epochs'?") == 2
    assert "hunter2" not in out


def test_a_folder_that_is_no_project_is_told_without_a_traceback(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "empty").mkdir()
    monkeypatch.chdir(project / "empty")
    with pytest.raises(SystemExit, match="problems"):
        main()
    found = states(capsys.readouterr().out)
    assert {name for name, state in found.items() if state == "problem"} == {
        "packages",
        "params.yaml",
        "dvc.yaml",
    }
    assert found["storage"] == "skipped"


@pytest.mark.parametrize(
    "error", [ImportError("No module named ray"), PermissionError(13, "Permission denied"), KeyError("x")]
)
def test_a_check_that_cannot_be_made_is_a_problem(error: Exception) -> None:
    def broken() -> CheckResult:
        raise error

    (finding,) = examine.examine(Path(), [("a check", broken)])
    assert (finding.name, finding.state) == ("a check", "problem")
    assert f"{error}; " in finding.text


def test_what_a_check_says_is_shown_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hunter22")
    check = ("a check", lambda: ok("http://me:p@ss@host/a says hunter22"))
    (finding,) = examine.examine(Path(), [check])
    assert finding.text == "http://host/a says ***"
