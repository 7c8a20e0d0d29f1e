"""infra/prometheus and infra/grafana with a real Prometheus that scrapes a real Ray cluster while our train
stage runs there.

The files are used as they are, with these changes: the folder in which Ray's head lists its nodes, and the
intervals, so that a test need not wait for minutes.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.local_cluster import NODE, local_cluster
from tests.infra.events import DONE
from tests.infra.manifests import INFRA, documents
from tests.infra.processes import free_port, running, status, until
from tests.support.project import fresh_project

PROMETHEUS = INFRA / "prometheus/prometheus.yml"
ALERTS = INFRA / "prometheus/alerts.yml"
DASHBOARD = INFRA / "grafana/espalier.json"
CASES = Path(__file__).parent / "alerts_test.yml"
EVENTS = Path(__file__).parent / "events.py"
CHANGES = {
    "/tmp/ray/": "{folder}/",
    "scrape_interval: 5s": "scrape_interval: 1s",
    "evaluation_interval: 15s": "evaluation_interval: 1s",
}
WAIT_S = 60.0
EPOCHS = 60
"""A value of a training is shown once per report interval: too short a run would show none."""
TRAINING_S = 180.0
SETTINGS = {
    "RAY_metrics_report_interval_ms": "2000",  # default 10 s; longer than our scrape interval, as there
    "RAY_health_check_period_ms": "500",  # a lost node is noticed in 2 s instead of 15
    "RAY_health_check_failure_threshold": "3",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
}
MISSING = "is not installed here (Debian package prometheus)"
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason=f"promtool {MISSING}")
needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason=f"prometheus {MISSING}")
FAULTS = [("for: 5m", "for: 1m"), ("> 90", "> 99"), ("offset 15m", "offset 90m"), ("== 0", "== 2")]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def dashboard_queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def rules() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in documents(ALERTS)[0]["groups"] for rule in group["rules"]}


def selectors(query: str) -> set[str]:
    """The metrics that a query selects, with their conditions on labels."""
    return set(
        re.findall(r"\b(?:up|(?:ray|autoscaler)_\w+)\b(?:\{[^}]*\})?", re.sub(r"by \([^)]*\)", "", query))
    )


@needs_promtool
def test_promtool_takes_them(tmp_path: Path) -> None:
    configured = promtool("check", "config", str(PROMETHEUS))
    assert configured.returncode == 0, configured.stderr
    assert "1 rule files found" in configured.stdout
    ruled = promtool("check", "rules", "--lint=all", "--lint-fatal", str(ALERTS))
    assert ruled.returncode == 0, ruled.stderr
    (tmp_path / "wrong.yml").write_text(ALERTS.read_text().replace("> 0", "> > 0"))
    assert promtool("check", "rules", str(tmp_path / "wrong.yml")).returncode != 0


@needs_promtool
def test_each_alert_fires_in_its_case_only() -> None:
    said = promtool("test", "rules", str(CASES))
    assert said.returncode == 0, said.stdout + said.stderr
    cases = [case for test in documents(CASES)[0]["tests"] for case in test["alert_rule_test"]]
    for name in rules():
        assert {bool(case["exp_alerts"]) for case in cases if case["alertname"] == name} == {True, False}, (
            name
        )


@needs_promtool
@pytest.mark.parametrize(
    ("old", "new"), [("for: 5m", "for: 1m"), ("> 90", "> 99"), ("offset 15m", "offset 90m"), ("== 0", "== 2")]
)
def test_the_cases_find_a_changed_alert(old: str, new: str, tmp_path: Path) -> None:
    text = ALERTS.read_text()
    assert old in text
    (tmp_path / "alerts.yml").write_text(text.replace(old, new))
    (tmp_path / "cases.yml").write_text(
        CASES.read_text().replace("../../infra/prometheus/alerts.yml", "alerts.yml")
    )
    assert promtool("test", "rules", str(tmp_path / "cases.yml")).returncode != 0


def test_every_alert_says_what_to_do() -> None:
    assert rules().keys() == {
        "RayNotScraped",
        "RayNodeLost",
        "RayNodeDiskFull",
        "RayNodeMemoryFull",
        "RayObjectStoreSpilling",
    }
    for name, rule in rules().items():
        assert rule["annotations"].keys() == {"summary", "action"}, name
        assert rule["labels"]["severity"] in {"warning", "critical"}, name


def test_the_dashboard_fits_together() -> None:
    """What Grafana does not complain of: panels that lie over each other, or ask a source that is fixed."""
    cells = [
        (x, y)
        for panel in panels()
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels()}) == len(panels())
    sources = [source["datasource"] for panel in panels() for source in (panel, *panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    assert [variable["name"] for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]] == [
        "datasource"
    ]


class Server:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **values: str) -> Any:
        query = urllib.parse.urlencode(values)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def series(self, query: str) -> list[dict[str, Any]]:
        """The series of a query now. Raises urllib.error.HTTPError where Prometheus does not take it."""
        result: list[dict[str, Any]] = self.ask("query", query=query)["result"]
        return result

    def silent(self, queries: set[str], seconds: float) -> set[str]:
        """Those queries that have no series, after up to so many seconds."""
        with suppress(TimeoutError):
            until(lambda: all(self.series(query) for query in queries), seconds, "silence")
        return {query for query in queries if not self.series(query)}

    def firing(self) -> set[str]:
        return {
            alert["labels"]["alertname"]
            for alert in self.ask("alerts")["alerts"]
            if alert["state"] == "firing"
        }


def train(root: Path, client: Mapping[str, str], server: Server) -> None:
    """Our train stage with two workers, one on each node, whose state the dashboard shows while it runs and
    at its end.
    """
    query = next(query for query in dashboard_queries() if "ray_train_controller_state" in query)

    def shown() -> set[str]:
        return {series["metric"]["ray_train_controller_state"] for series in server.series(query)}

    with fresh_project(root) as project:
        project.change_params({"train": {"epochs": EPOCHS}})
        training = project.start("dvc", "repro", "train", **client)
        until(lambda: shown() == {"RUNNING"}, TRAINING_S, "the training does not run")
        training.wait().expect_success()
        until(lambda: shown() == {"FINISHED"}, WAIT_S, "the training does not end")


def lose_a_node() -> None:
    """Kill all of the node that is not the head, at once."""
    starts = {child.pid: child.cmdline() for child in psutil.Process().children()}
    nodes = [pid for pid, command in starts.items() if str(NODE) in command]
    assert len(nodes) == 1
    os.killpg(nodes[0], signal.SIGKILL)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Server]:
    """A Prometheus on loopback, and the cluster of two nodes that it scrapes, on which the events and a
    training happened.
    """
    ports = {name: str(free_port()) for name in ("AUTOSCALER_METRIC_PORT", "DASHBOARD_METRIC_PORT")}
    head_options = [
        "--include-dashboard=true",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={free_port()}",
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (SETTINGS | ports).items():
            patch.setenv(name, value)
        with local_cluster(2, 1, head_options) as client:
            text = PROMETHEUS.read_text()
            for old, new in CHANGES.items():
                assert old in text
                text = text.replace(old, new.format(folder=Path(client["RAY_AUTH_TOKEN_PATH"]).parent))
            (tmp_path / "prometheus.yml").write_text(text)
            shutil.copy(ALERTS, tmp_path)
            address = f"127.0.0.1:{free_port()}"
            files = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
            with running(["prometheus", *files, f"--web.listen-address={address}"], os.environ, tmp_path):
                server = Server(f"http://{address}")
                until(lambda: status(f"{server.url}/-/ready") == 200, 30, tmp_path / "prometheus.log")
                with running([sys.executable, str(EVENTS)], {**os.environ, **client}, tmp_path):
                    log = tmp_path / f"{Path(sys.executable).name}.log"
                    until(lambda: DONE in log.read_text(), 120, log)
                    train(tmp_path / "project", client, server)
                    yield server


@needs_prometheus
def test_a_real_cluster_answers_every_query(prometheus: Server) -> None:
    """Dashboard and alerts ask only for what Ray exports; then a node is lost, and the alert fires."""
    lost = "ray_node_failure_total"  # is not there before
    metrics = {name for rule in rules().values() for name in selectors(rule["expr"])}
    queries = {*dashboard_queries(), *metrics}
    before = {query for query in queries if lost not in query}
    assert {'up{job="ray"}', lost, 'ray_object_store_memory{Location="SPILLED"}'} <= queries
    assert prometheus.silent(before, WAIT_S) == set()
    for rule in rules().values():
        prometheus.series(rule["expr"])  # raises where Prometheus does not take it
    assert prometheus.silent({rules()["RayObjectStoreSpilling"]["expr"]}, 0) == set()
    assert prometheus.series("sum(autoscaler_active_nodes)")[0]["value"][1] == "2"
    assert prometheus.firing() == set()
    lose_a_node()
    assert prometheus.silent(queries - before, WAIT_S) == set()
    until(lambda: prometheus.firing() == {"RayNodeLost"}, WAIT_S, "RayNodeLost does not fire")
    until(
        lambda: prometheus.series("sum(autoscaler_active_nodes)")[0]["value"][1] == "1",
        WAIT_S,
        "the node counts as alive",
    )
