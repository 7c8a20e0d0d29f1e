"""MLflow is a view that can be filled at any time: every point is there once, and a dead server costs
nothing.
"""

import json
import socket
import sqlite3
import statistics
import time
from pathlib import Path

import pytest

from pipeline.base.stage import Stage
from pipeline.errors import EspalierError, UnreachableError
from pipeline.tracking.delivery import tracked
from pipeline.tracking.journal import Journal, read_journal
from pipeline.tracking.records import (
    RunRecord,
    all_journals,
    new_record,
    read_record,
    run_key,
    upstream,
    write_record,
)
from pipeline.tracking.runs import RunSession
from pipeline.tracking.store import KEPT_MARK, RUN_MARK, Store, ask, connect, sync
from tests.support.couriers import ThreadCourier
from tests.support.servers import answering
from tests.support.tracked_project import empty_database, free_port, history, make_project, write


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return make_project(tmp_path / "project")


def train(root: Path, *, steps: int = 3, finals: dict[str, float] | None = None) -> Stage:
    stage = Stage("train", root)
    with tracked(stage, ThreadCourier) as report:
        for step in range(1, steps + 1):
            report.metrics({"val/top1": step / 10}, step=step)
        report.metrics(finals or {"top1": 0.5})
    return stage


def key_of(stage: Stage) -> str:
    return run_key(stage.name, stage.key)


def forget_delivery(stage: Stage) -> None:
    write_record(stage.journal, read_record(stage.journal).model_copy(update={"delivered": False}))


def test_a_stage_becomes_a_run_below_the_pipelines_run(root: Path) -> None:
    stage = train(root)
    store = connect(root)
    client = store.client
    run_id, parent_id = store.find(key_of(stage)), store.find(stage.pipeline_key())
    assert run_id is not None
    assert parent_id is not None
    run, parent = client.get_run(run_id), client.get_run(parent_id)
    assert history(store, key_of(stage), "val/top1") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert history(store, key_of(stage), "top1") == [(0, 0.5)]
    assert (run.info.run_name, run.info.status, run.data.tags["mlflow.parentRunId"]) == (
        "train",
        "FINISHED",
        parent_id,
    )
    own = {"train.epochs": "3", "train.milestones": "[1, 2]", "train.schedule": "cosine"}
    assert run.data.params == {**own, RUN_MARK: KEPT_MARK}
    assert (parent.info.run_name, parent.info.status) == (f"pipeline {stage.pipeline_key()[:8]}", "FINISHED")
    assert parent.data.params["data.seed"] == "1"
    assert not any(name.startswith("resources") for name in parent.data.params)
    assert parent.data.tags["espalier.run.train"] == run_id
    assert not any(str(root) in value for value in {**run.data.tags, **parent.data.tags}.values())


def test_twenty_deliveries_leave_each_point_once(root: Path) -> None:
    stage = train(root, steps=5)
    for _ in range(20):
        forget_delivery(stage)
        sync(root)
    store = connect(root)
    assert history(store, key_of(stage), "val/top1") == [(step, step / 10) for step in range(1, 6)]
    assert history(store, key_of(stage), "top1") == [(0, 0.5)]
    assert len(store.client.search_runs([store.experiment_id])) == 2


def test_a_delivery_cut_off_anywhere_is_completed_without_a_double(root: Path) -> None:
    stage = Stage("train", root)
    journal = Journal(stage.journal)
    for step in range(1, 7):
        journal.metrics({"loss": 1 / step, "lr": 0.1}, step=step)
    events = list(read_journal(stage.journal))
    record = new_record(stage, 1000.0)
    for sent in range(len(events) + 1):  # each session ends as a kill ends it: without close
        session = RunSession(connect(root), root, record)
        session.announce(record)
        session.send(events[:sent])
    session.close(record.model_copy(update={"status": "FINISHED", "ended": 2000.0}))
    store = connect(root)
    assert history(store, key_of(stage), "loss") == [(step, 1 / step) for step in range(1, 7)]
    assert history(store, key_of(stage), "lr") == [(step, 0.1) for step in range(1, 7)]


def test_a_resumed_run_goes_on_in_the_same_run(root: Path) -> None:
    stage = Stage("train", root)
    with pytest.raises(KeyboardInterrupt):
        interrupt(stage)
    assert status(root, stage) == "FAILED"
    with tracked(stage, ThreadCourier) as report:
        report.rewind(1)
        for step in (2, 3, 4):
            report.metrics({"loss": 1 / step}, step=step)
    assert history(connect(root), key_of(stage), "loss") == [(step, 1 / step) for step in (1, 2, 3, 4)]
    assert status(root, stage) == "FINISHED"


def interrupt(stage: Stage) -> None:
    with tracked(stage, ThreadCourier) as report:
        for step in (1, 2, 3):
            report.metrics({"loss": 1 / step}, step=step)
        raise KeyboardInterrupt


def status(root: Path, stage: Stage) -> str:
    store = connect(root)
    run = store.find(key_of(stage))
    assert run is not None
    return str(store.client.get_run(run).info.status)


def test_a_killed_run_is_shown_as_killed_after_a_sync(root: Path) -> None:
    stage = Stage("train", root)
    write_record(stage.journal, new_record(stage, 1000.0))
    Journal(stage.journal).metrics({"loss": 0.5}, step=1)
    assert sync(root).points == 1
    assert status(root, stage) == "KILLED"


def test_a_sync_leaves_a_running_stage_alone(root: Path) -> None:
    stage, store = Stage("train", root), connect(root)
    with tracked(stage, ThreadCourier) as report:
        report.metrics({"loss": 0.5}, step=1)
        while store.find(key_of(stage)) is None:
            time.sleep(0.01)
        assert sync(root).busy == (stage.journal.stem,)
        assert status(root, stage) == "RUNNING"
    assert sync(root).busy == ()


def test_an_empty_database_is_filled_from_the_journals(root: Path, tmp_path: Path) -> None:
    stage = train(root)
    report = write(root, "reports/dense/curve.csv", "step,loss\n")
    with tracked(Stage("evaluate@dense", root), ThreadCourier) as reporter:
        reporter.artifact(report)
        reporter.metrics({"top1": 0.9})
    other = tmp_path / "other"
    (root).rename(other)  # MLflow keeps connections to a path; elsewhere the database is new to it
    (other / ".espalier/mlflow/mlflow.db").unlink()
    empty_database(other)
    assert sync(other).points == 5
    store = connect(other)
    assert history(store, key_of(stage), "val/top1") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    evaluate = store.find(key_of(Stage("evaluate@dense", other)))
    assert evaluate is not None
    assert sync(other).points == 0


def test_final_values_replace_only_what_differs(root: Path) -> None:
    stage = train(root, finals={"seconds": 1.0, "val/top1": 0.3})
    train(root, finals={"seconds": 1.0, "val/top1": 0.3})
    assert history(connect(root), key_of(stage), "seconds") == [(0, 1.0)]
    train(root, finals={"seconds": 2.0, "val/top1": 0.9})
    store = connect(root)
    run = store.find(key_of(stage))
    assert run is not None
    assert store.client.get_run(run).data.metrics == {"seconds": 2.0, "val/top1": 0.3, "final/val/top1": 0.9}


def test_the_last_stage_reports_to_the_pipelines_run_too(root: Path) -> None:
    stage = Stage("register", root)
    train(root)
    with tracked(stage, ThreadCourier) as report:
        report.metrics({"dense/top1": 0.9})
        report.artifact(root / "reports/dense/metrics.json")
    store = connect(root)
    pipeline = store.find(stage.pipeline_key())
    assert pipeline is not None
    assert history(store, stage.pipeline_key(), "dense/top1") == [(0, 0.9)]
    assert [file.path for file in store.client.list_artifacts(pipeline, "reports/dense")] == [
        "reports/dense/metrics.json"
    ]
    tags = store.client.get_run(pipeline).data.tags
    assert tags["espalier.run.train"] == store.find(key_of(Stage("train", root)))


def test_a_cached_stage_is_linked_from_a_new_pipeline_run(root: Path) -> None:
    cached = train(root)
    write(root, "pipeline/code.py", "x = 3\n")
    stage = Stage("evaluate@dense", root)
    with tracked(stage, ThreadCourier) as report:
        report.metrics({"top1": 0.9})
    store = connect(root)
    pipeline = store.find(stage.pipeline_key())
    assert pipeline is not None
    tags = store.client.get_run(pipeline).data.tags
    assert tags["espalier.run.train"] == store.find(key_of(cached))
    assert tags["espalier.run.evaluate.dense"] == store.find(key_of(stage))


def test_prepare_finds_its_pipeline_when_it_has_made_the_data(root: Path) -> None:
    (root / "data/prepared/manifest.json").unlink()
    stage = Stage("prepare", root)
    with tracked(stage, ThreadCourier) as report:
        report.metrics({"train/rows": 10})
        write(root, "data/prepared/manifest.json", '{"rows": 10}')
    store = connect(root)
    run = store.find(key_of(stage))
    assert run is not None
    assert store.client.get_run(run).data.tags["mlflow.parentRunId"] == store.find(stage.pipeline_key())


def test_an_artifact_of_another_state_is_not_sent(root: Path) -> None:
    stage = Stage("evaluate@dense", root)
    with tracked(stage, ThreadCourier) as report:
        report.artifact(root / "reports/dense/metrics.json")
    write(root, "reports/dense/metrics.json", '{"top1": 0.1}')
    store = connect(root)
    run = store.find(key_of(stage))
    assert run is not None
    store.client.set_tag(run, "espalier.artifacts", "as if nothing had been sent")
    assert sync(root).artifacts == 0


def test_the_next_stage_sends_what_an_earlier_one_could_not(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    early = train(root)
    assert not read_record(early.journal).delivered
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with tracked(Stage("evaluate@dense", root), ThreadCourier) as report:
        report.metrics({"top1": 0.9})
    assert history(connect(root), key_of(early), "val/top1") == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_with_a_dead_server_a_report_is_an_append_and_the_end_comes_within_seconds(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port()}")
    stage = Stage("train", root)
    seconds = []
    with tracked(stage, ThreadCourier) as report:
        for step in range(1, 201):
            start = time.perf_counter()
            report.metrics({"loss": 1 / step}, step=step)
            seconds.append(time.perf_counter() - start)
        ended = time.monotonic()
    assert statistics.median(seconds) < 1e-3
    assert time.monotonic() - ended < 6
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "does not answer" in line
    assert "200 events" in line
    assert "`espalier sync`" in line
    assert "secret" not in line
    with pytest.raises(UnreachableError, match="does not answer"):
        sync(root)


def test_a_server_that_never_replies_is_given_up_in_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with tracked(Stage("train", root), ThreadCourier) as report:
            report.metrics({"loss": 1.0}, step=1)
            ended = time.monotonic()
    assert time.monotonic() - ended < 8


def test_a_database_whose_making_was_killed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write(tmp_path, ".espalier/mlflow/mlflow.partial.db", "half of a database")
    assert connect(tmp_path).find("k") is None
    assert [path.name for path in (tmp_path / ".espalier/mlflow").iterdir()] == ["mlflow.db"]


def test_a_moved_project_finds_its_runs_and_artifacts(root: Path, tmp_path: Path) -> None:
    with tracked(Stage("evaluate@dense", root), ThreadCourier) as report:
        report.artifact(root / "reports/dense/metrics.json")
    other = root.rename(tmp_path / "moved by 100 % 'here'")
    for _ in range(2):
        store = connect(other)
        run = store.find(key_of(Stage("evaluate@dense", other)))
        assert run is not None
        brought = store.client.download_artifacts(run, "reports/dense/metrics.json", str(tmp_path))
        assert Path(brought).read_text() == '{"top1": 0.9}'
    with sqlite3.connect(other / ".espalier/mlflow/mlflow.db") as connection:
        left = [line for line in connection.iterdump() if f"{root}/.espalier" in line]
    connection.close()
    assert left == []


def test_a_file_that_is_no_database_is_named(root: Path) -> None:
    write(root, ".espalier/mlflow/mlflow.db", "text" * 1000)
    with pytest.raises(EspalierError, match=r"mlflow\.db: cannot be read as MLflow's database \(file is not"):
        connect(root)


def test_two_sessions_obtain_the_same_run(root: Path) -> None:
    store: Store = connect(root)
    first, second = store.obtain("k", "name", 1000.0), store.obtain("k", "name", 1001.0)
    assert first.id == second.id


def test_upstream_holds_every_ancestor_with_its_key(root: Path) -> None:
    names = ("evaluate@dense", "prepare", "train")
    assert upstream(Stage("register", root)) == {name: key_of(Stage(name, root)) for name in names}
    assert upstream(Stage("prepare", root)) == {}


def test_a_damaged_record_names_its_file(root: Path) -> None:
    stage = train(root)
    path = stage.journal.with_name(stage.journal.stem + ".run.json")
    path.write_text(json.dumps({"stage": "train"}))
    with pytest.raises(EspalierError, match="not a record of a run"):
        all_journals(root)
    assert RunRecord.model_fields


@pytest.mark.parametrize(
    ("status", "body"), [(401, b"You are not authenticated."), (403, b"Permission denied")]
)
def test_an_account_that_the_server_refuses_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
) -> None:
    with answering(status, body, "text/plain") as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        with pytest.raises(
            EspalierError, match=r"refuses who asks \(status 40[13]\); set MLFLOW_TRACKING_USERNAME and"
        ):
            ask(root)


def test_a_server_in_trouble_does_not_answer(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(503, b"busy", "text/plain") as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        with pytest.raises(UnreachableError, match="does not answer"):
            ask(root)
