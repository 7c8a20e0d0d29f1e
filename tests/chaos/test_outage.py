"""MLflow is down at the start, comes, goes for five minutes amid a delivery, and comes again: each point is
there once.
"""

import sqlite3
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.base.stage import Stage
from pipeline.tracking.delivery import start_courier, tracked
from pipeline.tracking.journal import Reporter
from pipeline.tracking.records import read_record
from tests.support.project import until
from tests.support.tracked_project import free_port, make_project, mlflow_server

METRICS = [f"metric-{number}" for number in range(10)]
STEPS = 1_000
DELIVERED_S = 60.0
OUTAGE_S = 300.0


def report_steps(report: Reporter, steps: range) -> None:
    for step in steps:
        report.metrics({name: step + number / 10 for number, name in enumerate(METRICS)}, step=step)


def points(folder: Path) -> tuple[int, int]:
    """All that the server holds, and how many of them differ in metric or step."""
    with sqlite3.connect(f"file:{folder / 'server.db'}?mode=ro", uri=True) as database:
        found: tuple[int, int] = database.execute(
            "select count(*), count(distinct key || ' ' || step) from metrics"
        ).fetchone()
        return found


def test_ten_thousand_points_are_there_once_after_two_outages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the courier's own process, which asks a dead server again every 5 s."""
    stage, server, port = Stage("train", make_project(tmp_path / "project")), tmp_path / "server", free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    couriers: list[subprocess.Popen[bytes]] = []

    def started(stage: Stage) -> subprocess.Popen[bytes]:
        couriers.append(start_courier(stage))
        return couriers[0]

    with ExitStack() as back:
        with tracked(stage, started) as report:
            report_steps(report, range(STEPS // 2))
            with mlflow_server(server, port):
                until(lambda: points(server)[0] > 0, "the delivery has begun", DELIVERED_S)
            sent = points(server)[0]
            report_steps(report, range(STEPS // 2, STEPS))
            assert sent < STEPS * len(METRICS) / 2, "the server went too late to cut off a delivery"
            time.sleep(OUTAGE_S)
            assert couriers[0].poll() is None, "it goes on asking"
            back.enter_context(mlflow_server(server, port))
            until(lambda: points(server)[0] > sent, "the courier goes on", DELIVERED_S)
        assert couriers[0].wait(DELIVERED_S) == 0
        assert read_record(stage.journal).delivered
    assert points(server) == (STEPS * len(METRICS), STEPS * len(METRICS))
