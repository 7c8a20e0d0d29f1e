"""What is made in MLflow is there once, however many clients make it, with a barrier between the look and the
making.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pipeline.errors import EspalierError
from pipeline.registry.versions import STALE_S, Versions
from pipeline.tracking import answers
from pipeline.tracking.local import tracking_uri
from pipeline.tracking.runs import MetricPoint
from pipeline.tracking.store import KEY_TAG, RUN_MARK, Store, _experiment, connect
from tests.support.tracked_project import make_project

MEETING_S = 10.0


class Meeting:
    """Holds each thread, the first time it comes by, until all are there."""

    def __init__(self, threads: int) -> None:
        self._barrier = threading.Barrier(threads)
        self._passed: set[int] = set()

    def wait(self) -> None:
        if threading.get_ident() not in self._passed:
            self._passed.add(threading.get_ident())
            self._barrier.wait(MEETING_S)


class Client:
    """An MLflow client whose threads meet after the first call of one method, before they act on what it
    gave.
    """

    def __init__(self, client: MlflowClient, method: str, meeting: Meeting) -> None:
        self._client, self._method, self._meeting = client, method, meeting
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            try:
                return getattr(self._client, name)(*arguments, **options)
            finally:
                if name == self._method:
                    self._meeting.wait()

        return call


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return make_project(tmp_path / "project")


def machines(store: Store, number: int, method: str) -> list[Store]:
    """Clients of one store that share no lock, and meet after their look."""
    meeting = Meeting(number)
    return [
        replace(
            store,
            client=cast("MlflowClient", Client(store.client, method, meeting)),
            lock=store.lock.with_suffix(f".{n}"),
        )
        for n in range(number)
    ]


def at_once(act: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    items = list(items)
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(act, items))


@contextmanager
def meeting_before(statement: str, threads: int) -> Iterator[None]:
    """Threads meet before the first time that they send such a statement to a database."""
    meeting = Meeting(threads)

    def wait(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if sql.startswith(statement):
            meeting.wait()

    event.listen(Engine, "before_cursor_execute", wait)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", wait)


def log_params_at_once(root: Path) -> dict[str, str]:
    store = connect(root)
    run = store.obtain("k", "name", 1.0)
    values = {"train.epochs": "3", "data.seed": "1"}
    with meeting_before("INSERT INTO params", 2):
        at_once(lambda _: store.log(run.id, [], values, {}), range(2))
    found: dict[str, str] = store.client.get_run(run.id).data.params
    return found


def test_two_processes_that_insert_the_same_params_both_go_on(root: Path) -> None:
    assert {"train.epochs": "3", "data.seed": "1"}.items() <= log_params_at_once(root).items()


def test_the_race_is_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MLFLOW_ATTEMPTS", 1)
    with pytest.raises(EspalierError, match=r"UNIQUE constraint failed: params\.key"):
        log_params_at_once(root)


@pytest.mark.parametrize("table", ["tags", "metrics"])
def test_tags_and_metrics_do_not_stop_each_other_either(root: Path, table: str) -> None:
    store = connect(root)
    run = store.obtain("k", "name", 1.0)
    with meeting_before(f"INSERT INTO {table}", 2):
        at_once(lambda _: store.log(run.id, [MetricPoint("loss", 0.5, 7.0, 1)], {}, {"a": "b"}), range(2))
    assert [point.value for point in store.client.get_metric_history(run.id, "loss")] == [0.5]


def test_one_experiment_is_made(root: Path) -> None:
    store = connect(root)
    for name in ("first", "second"):
        store.client.rename_experiment(store.experiment_id, name)
        with meeting_before("INSERT INTO experiments", 2):
            one, two = at_once(open_elsewhere, [root] * 2)
        assert one.experiment_id == two.experiment_id
        store = one


def open_elsewhere(root: Path) -> Store:
    """A connection without this project's lock."""
    uri = tracking_uri(root)
    client = MlflowClient(uri)
    return Store(client, answers.settled(uri, lambda: _experiment(client, uri, None)), uri, root / "lock")


def test_machines_that_make_a_run_at_once_settle_on_one(root: Path) -> None:
    stores = machines(connect(root), 4, "search_runs")
    runs = at_once(lambda number: stores[number].obtain("k", "name", 10.0 - number), range(4))
    assert sum(cast("Client", store.client).calls.count("create_run") for store in stores) == 4
    assert len({run.id for run in runs}) == 1
    assert [run.info.run_id for run in active(connect(root))] == [runs[0].id]


def active(store: Store, key: str = "k") -> list[Any]:
    return list(store.client.search_runs([store.experiment_id], f"tags.`{KEY_TAG}` = '{key}'"))


def test_runs_of_clients_that_died_before_they_settled_are_settled_by_the_next(root: Path) -> None:
    store = connect(root)
    made = [
        store.client.create_run(store.experiment_id, start, {KEY_TAG: "k"}).info.run_id
        for start in (3000, 1000, 2000)
    ]
    assert store.find("k") == made[1]
    assert store.obtain("k", "name", 9.0).id == made[1]
    assert [run.info.run_id for run in active(store)] == [made[1]]


def test_a_run_in_use_stands_before_an_older_one_that_comes_late(root: Path) -> None:
    store = connect(root)
    used = store.obtain("k", "name", 9.0).id
    late = store.client.create_run(store.experiment_id, 1000, {KEY_TAG: "k"}).info.run_id
    assert store.find("k") == used
    assert store.obtain("k", "name", 1.0).id == used
    assert store.client.get_run(late).info.lifecycle_stage == "deleted"


class Memory:
    """What MLflow promises of runs, in memory and slow: a param keeps its first value; searches see what is
    complete.
    """

    def __init__(self, seed: int) -> None:
        self.runs: list[Any] = []
        self._random, self._lock = random.Random(seed), threading.Lock()

    def _step(self) -> None:
        time.sleep(self._random.random() * 1e-3)

    def search_runs(self, *_: Any) -> list[Any]:
        self._step()
        with self._lock:
            there = [run for run in self.runs if run.info.lifecycle_stage == "active"]
            data = [SimpleNamespace(params=dict(run.data.params), tags={KEY_TAG: "k"}) for run in there]
            seen = [SimpleNamespace(info=run.info, data=each) for run, each in zip(there, data, strict=True)]
        self._step()
        return seen

    def create_run(self, _experiment: str, start: int, *_: Any) -> None:
        self._step()
        with self._lock:
            info = SimpleNamespace(run_id=str(len(self.runs)), start_time=start, lifecycle_stage="active")
            self.runs.append(SimpleNamespace(info=info, data=SimpleNamespace(params={})))

    def log_param(self, run: str, name: str, value: str) -> None:
        self._step()
        with self._lock:
            found = self.runs[int(run)]
            if found.info.lifecycle_stage != "active" or found.data.params.setdefault(name, value) != value:
                raise MlflowException("a param keeps its value")

    def get_run(self, run: str) -> Any:
        return self.runs[int(run)]

    def delete_run(self, run: str) -> None:
        self._step()
        with self._lock:
            self.runs[int(run)].info.lifecycle_stage = "deleted"


def test_no_order_of_their_steps_leaves_two_runs_or_none(tmp_path: Path) -> None:
    made = 0
    for seed in range(40):
        memory = Memory(seed)
        store = Store(cast("MlflowClient", memory), "0", "sqlite://", tmp_path)
        starts = [1, 2, 3, 4] if seed % 2 else [4, 3, 2, 1]
        runs = at_once(partial(store._obtain, "k", "name"), starts)
        kept = {run.info.run_id for run in memory.runs if run.data.params.get(RUN_MARK) == "kept"}
        assert (
            kept == {run.info.run_id for run in runs} == {run.info.run_id for run in memory.search_runs()}
        ), seed
        assert len(kept) == 1, seed
        made += len(memory.runs)
    assert made > 40, "they never met"


def versions_of(store: Store, stale_s: float = STALE_S) -> Versions:
    return Versions(store, "tiny", store.client.create_run(store.experiment_id).info.run_id, stale_s)


def obtain(versions: Versions, key: str = "k") -> int:
    return versions.obtain(key, {KEY_TAG: key}, "card", "tiny-dense", lambda _: None)


def numbers(store: Store) -> list[int]:
    return sorted(int(each.version) for each in store.client.search_model_versions("name = 'tiny'"))


def test_machines_that_register_at_once_settle_on_one_version(root: Path) -> None:
    stores = machines(connect(root), 3, "search_model_versions")
    found = at_once(lambda store: obtain(versions_of(store)), stores)
    client = connect(root).client
    assert sum(cast("Client", store.client).calls.count("create_model_version") for store in stores) == 3
    assert found == [1, 1, 1]
    assert numbers(connect(root)) == [1]
    (model,) = client.search_logged_models([stores[0].experiment_id])
    assert model.model_id in str(client.get_model_version("tiny", "1").source)


def test_one_registered_model_is_made(root: Path) -> None:
    stores = machines(connect(root), 2, "search_registered_models")
    at_once(versions_of, stores)
    assert [model.name for model in connect(root).client.search_registered_models()] == ["tiny"]


def test_a_version_of_a_client_that_died_before_it_settled_goes_and_its_aliases_stay(root: Path) -> None:
    store = connect(root)
    versions = versions_of(store)
    first = obtain(versions)
    source = str(store.client.get_model_version("tiny", str(first)).source)
    double = store.client.create_model_version("tiny", source, tags={KEY_TAG: "k"}).version
    store.client.set_registered_model_alias("tiny", "champion", double)
    assert obtain(versions) == first
    assert numbers(store) == [first]
    assert int(store.client.get_model_version_by_alias("tiny", "champion").version) == first


def test_a_model_that_another_client_is_storing_is_left_alone_for_a_day(root: Path) -> None:
    store = connect(root)
    other = store.client.create_logged_model(store.experiment_id, "tiny-dense", tags={KEY_TAG: "k"})
    obtain(versions_of(store))
    store.client.finalize_logged_model(other.model_id, "READY")
    obtain(versions_of(store, stale_s=0.0))
    left = [model.model_id for model in store.client.search_logged_models([store.experiment_id])]
    assert other.model_id not in left
    assert len(left) == 1
