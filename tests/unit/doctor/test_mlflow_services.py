"""What `espalier doctor` says of an MLflow that is absent, silent, wrong or careless."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.doctor.finding import CheckResult
from pipeline.doctor.mlflow_services import journals, mlflow
from pipeline.tracking.records import RunRecord, journal_lock, write_record
from tests.support.doctor_samples import holding, says
from tests.support.servers import answering, silent


def test_mlflow_that_answers_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mlflow(tmp_path).state == "skipped"
    with answering(200, b'{"experiment": {"experiment_id": "1", "name": "espalier"}}') as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        assert mlflow(tmp_path) == CheckResult("ok", f"{url} answers, also to what runs ask of it")


@pytest.mark.parametrize(
    ("status", "words"), [(401, "for an account"), (403, "for the host name"), (503, "start it")]
)
def test_mlflow_that_refuses_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, words: str
) -> None:
    with answering(status) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        says(mlflow(tmp_path), f"{url} answers /health with status {status}", words)


def test_mlflow_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with silent() as number:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{number}")
        says(mlflow(tmp_path, timeout_s=0.2), "says nothing within 0.2 s; start it")
    says(mlflow(tmp_path), "does not answer", "refused")


def test_credentials_in_the_address_of_mlflow_are_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hunter2@mlflow.example.org")
    verdict = mlflow(tmp_path)
    says(verdict, "MLFLOW_TRACKING_USERNAME")
    assert "hunter2" not in verdict.text


def record(root: Path, name: str, *, delivered: bool) -> Path:
    """A journal with its record."""
    journal = root / ".espalier" / "journals" / f"{name}-1.jsonl"
    values: dict[str, Any] = {
        "pipeline_key": None,
        "params": {},
        "pipeline_params": {},
        "upstream": {},
        "ended": None,
    }
    journal.parent.mkdir(parents=True, exist_ok=True)
    write_record(
        journal, RunRecord(stage=name, key="1", started=0.0, status="RUNNING", delivered=delivered, **values)
    )
    return journal


def test_journals_that_wait_are_counted(tmp_path: Path) -> None:
    record(tmp_path, "prepare", delivered=True)
    assert journals(tmp_path) == CheckResult("ok", "MLflow has all")
    waiting = record(tmp_path, "train", delivered=False)
    says(journals(tmp_path), "1 not delivered (train-1); `espalier sync` sends them")
    with holding(journal_lock(waiting)):
        assert journals(tmp_path).state == "ok"
