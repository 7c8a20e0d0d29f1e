"""`espalier submit` of the whole line, to three hosts that share no disk."""

import json
from pathlib import Path

import pytest

from pipeline.tracking.records import stage_names
from tests.support.hosts.services import RUNS_DATABASE
from tests.support.hosts.topology import Topology
from tests.support.hosts.work import REPRO_TIMEOUT_S, STORAGE, Work
from tests.support.project import running_stages

WORKERS = 3
CHANGES = {"data": {"seed": 1}}
"""So that other tests' runs are not taken for these."""
IS_PARENT = "key = 'mlflow.parentRunId'"
PIPELINE = "(select distinct run_id from model_versions)"


@pytest.fixture(scope="module")
def submitted(installation: Topology, tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder, jobs_url = tmp_path_factory.mktemp("work") / "project", installation.ray.head.jobs_url
    work = Work(installation.client, folder, jobs_url, workers=WORKERS, storage=STORAGE, changes=CHANGES)
    client = work.submit()
    assert client.wait(REPRO_TIMEOUT_S) == 0, client.tail()
    work.shown = client.log.read_text()
    return work


def test_the_results_come_back_and_nothing_is_left_to_do(submitted: Work) -> None:
    assert submitted.run("dvc", "status").out.strip() == "Data and pipelines are up to date."
    assert "didn't change, skipping" in submitted.run("dvc", "repro").out
    assert submitted.path("artifacts/dense/model.json").exists()
    provenance = json.loads(submitted.path("artifacts/dense/model.json").read_text())["provenance"]
    assert provenance["placement"] == f"{WORKERS} workers x 1 threads on cpu"


def test_the_terminal_shows_the_stages_their_progress_and_the_table(submitted: Work) -> None:
    assert "was submitted at http://10.77.0.1:8265; Ctrl-C leaves it running" in submitted.shown
    stages = running_stages(submitted.shown)
    assert (stages[0], stages[-1]) == ("prepare", "register")
    assert sorted(stages) == sorted(stage_names(submitted.path(".")))
    assert "train  epoch 30/30" in submitted.shown
    assert "lost by" in submitted.shown.rpartition("Running stage 'register'")[2]


def test_the_registry_holds_the_models_of_one_pipeline_run(installation: Topology, submitted: Work) -> None:
    def ask(statement: str) -> str:
        return installation.database.query(RUNS_DATABASE, statement)

    assert ask("select count(*) from model_versions") == "3"
    assert (
        ask("select string_agg(alias, ',' order by alias) from registered_model_aliases")
        == "candidate,champion,dense"
    )
    stages = running_stages(submitted.shown)
    assert ask(f"select count(*) from {PIPELINE} as pipeline") == "1"
    assert ask(f"select count(distinct run_uuid) from tags where {IS_PARENT} and value in {PIPELINE}") == str(
        len(stages)
    )
    commit = submitted.run("git", "rev-parse", "HEAD").out.strip()
    assert ask("select distinct value from model_version_tags where key = 'git_commit'") == commit


def test_one_host_ends_in_the_same_bytes(installation: Topology, submitted: Work, tmp_path: Path) -> None:
    alone = Work(installation.services, tmp_path / "project", "", workers=WORKERS, changes=CHANGES)
    alone.run("dvc", "repro", "quantize")
    expected = alone.locked()
    assert expected
    assert {path: md5 for path, md5 in submitted.locked().items() if path in expected} == expected
