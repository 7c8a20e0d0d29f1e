"""`espalier weights`, and the name that it had before."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import parser
from pipeline.errors import ArtifactError
from tests.support.places import ROOT


def espalier(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pipeline.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words", [[], ["models:/digits@dense"], ["--teacher", "some/folder"], ["x", "--teacher"]]
)
def test_the_old_name_says_what_it_is_now_and_does_nothing(words: list[str], tmp_path: Path) -> None:
    done = espalier("init", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "`espalier weights SOURCE`" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_old_name_is_in_no_help(tmp_path: Path) -> None:
    done = espalier("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "weights" in done.stdout
    assert " init" not in done.stdout


def test_a_model_folder_of_before_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    (tmp_path / "old/model.json").write_text(json.dumps({"format": 3, "classes": ["a", "b"]}))
    arguments = parser().parse_args(["weights", "--teacher", "old"])
    with pytest.raises(ArtifactError, match=r"old/model.json: format 3 is unknown .*; make the model again"):
        arguments.command(arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
