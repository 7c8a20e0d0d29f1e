"""What `espalier doctor` says of params.yaml, dvc.yaml and committed secrets."""

from pathlib import Path

import pytest

from pipeline.doctor.project import params, secrets, stages
from pipeline.errors import ParamsError
from tests.support.doctor_samples import says
from tests.support.places import ROOT


def test_wrong_params_are_told(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text)
    assert params(tmp_path).state == "ok"
    (tmp_path / "params.yaml").write_text(text.replace("epochs: 14", "epocs: 14"))
    with pytest.raises(ParamsError, match="did you mean 'epochs'"):
        params(tmp_path)


def test_a_dvc_yaml_that_cannot_run_is_told(tmp_path: Path) -> None:
    assert stages(ROOT).state == "ok"
    for text, words in [
        ("stages: {}", "no stages"),
        ("stages: {train: {deps: [a]}}", "stage 'train' has no cmd"),
    ]:
        (tmp_path / "dvc.yaml").write_text(text)
        says(stages(tmp_path), words)
    (tmp_path / "dvc.yaml").write_text("stages: {a: 1\n")
    with pytest.raises(ParamsError, match=r"dvc\.yaml"):
        stages(tmp_path)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        (".dvc/config", "    secret_access_key = hunter2"),
        (".dvc/config", "password=hunter2"),
        (".dvc/config", "    # token = hunter2"),
        (".dvc/config", "    url = https://me:hunter2@example.org/dvc"),
        (".dvc/config", "    url = https://hunter2@example.org/dvc"),
        (".dvc/config", "    url = ssh://me:hunter2@example.org/dvc"),
        ("params.yaml", "  storage: s3://me:hunter2@bucket/prefix"),
    ],
)
def test_a_committed_secret_is_a_problem_and_not_shown(tmp_path: Path, file: str, line: str) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / file).write_text(f"# first\n{line}\n")
    verdict = secrets(tmp_path)
    says(verdict, f"{file}, line 2", "replace the secret")
    assert "hunter2" not in verdict.text


@pytest.mark.parametrize(
    "line",
    [
        "ask_password = true",
        "url = ssh://me@host/dvc",
        "url = s3://bucket/dvc",
        "keyfile = /home/me/key",
        "password =",
    ],
)
def test_what_is_no_secret_is_none(tmp_path: Path, line: str) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(f"['remote \"a\"']\n    {line}\n")
    assert secrets(tmp_path).state == "ok"
