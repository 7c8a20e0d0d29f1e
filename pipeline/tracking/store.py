"""The way of journals to MLflow: one run for each key, for any number of clients, sent what it lacks.

MLflow is a view and the journals are the truth: a run is found by its key (the tag `espalier.key`),
never by an id that was kept, so a deleted database is filled again by `espalier sync`.
"""

import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.base.files import locked
from pipeline.base.stage import Stage
from pipeline.errors import LockedError
from pipeline.tracking.answers import MLFLOW_ATTEMPTS, foreign, mlflow_errors, settled
from pipeline.tracking.journal import read_journal
from pipeline.tracking.local import (
    EXPERIMENT,
    artifacts_beside,
    database_file,
    follow_project,
    is_a_projects,
    lock_of,
    make_database,
    tracking_uri,
)
from pipeline.tracking.records import RunRecord, all_journals, journal_lock, read_record, write_record
from pipeline.tracking.runs import MetricPoint, RunSession, TrackedRun

if TYPE_CHECKING:
    import mlflow

ItemT = TypeVar("ItemT")
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Tags without which the UI opens the experiment on its pages for language models."""
KEY_TAG = "espalier.key"
MAX_POINTS = 1000
"""Metrics in one log_batch call (mlflow/utils/validation.py)."""
MAX_OTHERS = 100
"""Params or tags in one log_batch call."""
RUN_MARK = "espalier.run"
"""The param by which clients agree on one run of a key: MLflow keeps a param's first value."""
KEPT_MARK = "kept"
DOUBLE_MARK = "double"
RANKS = {KEPT_MARK: 0, None: 1, DOUBLE_MARK: 2}
ENVIRONMENT = {
    # A request to a dead server would block for 247 s by default; here the journal is what waits.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True)
class SyncReport:
    """journals: those that MLflow now has; busy: those that a running stage is delivering itself."""

    journals: int
    points: int
    artifacts: int
    busy: tuple[str, ...]

    def __str__(self) -> str:
        text = (
            f"MLflow has {self.journals} journals; {self.points} points and {self.artifacts} artifacts "
            "were sent"
        )
        return text + "".join(f"\n{name}: left to the stage that is running" for name in self.busy)


def sync(root: Path) -> SyncReport:
    """Send MLflow what it lacks of every journal, after an outage or into a new database.

    Raises UnreachableError if the server does not answer, EspalierError if it refuses.
    """
    store = connect(root)
    sent: list[RunSession] = []
    busy: list[str] = []
    for journal in all_journals(root):
        try:
            sent.append(_deliver(store, journal, root))
        except LockedError:
            busy.append(journal.stem)
    return SyncReport(
        len(sent), sum(s.sent_points for s in sent), sum(s.sent_artifacts for s in sent), tuple(busy)
    )


@dataclass(frozen=True)
class Store:
    """An MLflow that answered, and the experiment that holds all of Espalier's runs.

    A `pipeline.tracking.runs.Server`.
    """

    client: "mlflow.MlflowClient"
    experiment_id: str
    uri: str
    lock: Path

    def find(self, key: str) -> str | None:
        with mlflow_errors(self.uri):
            runs = self._search(key)
        # Of several the one that `obtain` would settle on.
        found = min(runs, key=lambda run: RANKS.get(run.data.params.get(RUN_MARK), 1), default=None)
        return found.info.run_id if found else None

    def obtain(self, key: str, name: str, started: float) -> TrackedRun:
        # The lock saves clients of one project from making doubles; those of other machines settle.
        with mlflow_errors(self.uri), locked(self.lock, wait_s=math.inf, what="the tracking database"):
            run = settled(self.uri, lambda: self._obtain(key, name, started))
            history = {metric: self._history(run.info.run_id, metric) for metric in run.data.metrics}
        return TrackedRun(
            run.info.run_id, run.info.status, dict(run.data.tags), dict(run.data.params), history
        )

    def log(
        self, run: str, points: Sequence[MetricPoint], params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        # Times come from the journal: a batch that arrived although its answer was lost is the same
        # rows again, and MLflow's primary key keeps them once.
        metrics = [Metric(p.key, p.value, _ms(p.time), p.step) for p in points]
        # So are params and tags: a batch that met the same one of another client is sent again whole.
        batches: list[dict[str, Any]] = [{"metrics": chunk} for chunk in _chunks(metrics, MAX_POINTS)]
        batches += [
            {"params": chunk} for chunk in _chunks([Param(*item) for item in params.items()], MAX_OTHERS)
        ]
        batches += [
            {"tags": chunk} for chunk in _chunks([RunTag(*item) for item in tags.items()], MAX_OTHERS)
        ]
        with mlflow_errors(self.uri):
            for batch in batches:
                settled(self.uri, partial(self.client.log_batch, run, **batch))

    def log_artifact(self, run: str, path: Path, place: str | None) -> None:
        with mlflow_errors(self.uri):
            self.client.log_artifact(run, str(path), place)

    def set_status(self, run: str, status: str, ended: float | None) -> None:
        with mlflow_errors(self.uri):
            if status == "RUNNING":
                self.client.update_run(run, status=status)
            else:
                self.client.set_terminated(run, status, None if ended is None else _ms(ended))

    def _obtain(self, key: str, name: str, started: float) -> "mlflow.entities.Run":
        for _ in range(MLFLOW_ATTEMPTS):
            if (run := self._settle(key)) is not None:
                return run
            self.client.create_run(self.experiment_id, _ms(started), {KEY_TAG: key}, name)
        raise foreign(self.uri)  # it keeps no run that it is given

    def _settle(self, key: str) -> "mlflow.entities.Run | None":
        """The run of a key that all clients use, None if there is none. Anyone's doubles are deleted.

        No run is used before it is marked `kept`, and one marked `double` never is. Whoever makes a run looks
        afterwards, so of two clients one at least sees both runs. It marks the younger ones first: that fails
        if one is kept already, and then this is the one. The oldest is marked `double` by nobody else.
        """
        runs = self._search(key)
        if not runs:
            return None
        marks = [self._mark(run, DOUBLE_MARK) for run in runs[1:]]
        marks.insert(0, self._mark(runs[0], DOUBLE_MARK if KEPT_MARK in marks else KEPT_MARK))
        for run, mark in zip(runs, marks, strict=True):
            if mark == DOUBLE_MARK:
                self.client.delete_run(run.info.run_id)
        return runs[marks.index(KEPT_MARK)] if KEPT_MARK in marks else self._settle(key)

    def _mark(self, run: "mlflow.entities.Run", value: str) -> str:
        """The mark of a run: the one that it has, else this value, unless another client is quicker."""
        from mlflow.exceptions import MlflowException

        held = run.data.params.get(RUN_MARK)
        if held is None:
            try:
                self.client.log_param(run.info.run_id, RUN_MARK, value)
            except MlflowException:
                held = self.client.get_run(run.info.run_id).data.params.get(RUN_MARK)
                if held is None:
                    raise
        return DOUBLE_MARK if (held or value) == DOUBLE_MARK else KEPT_MARK

    def _search(self, key: str) -> "list[mlflow.entities.Run]":
        """The runs with this key, oldest first; several if clients without a common lock made them."""
        runs = self.client.search_runs([self.experiment_id], f"tags.`{KEY_TAG}` = '{key}'")
        if any(run.data.tags.get(KEY_TAG) != key for run in runs):
            raise foreign(self.uri)
        return sorted(runs, key=lambda run: (run.info.start_time or 0, run.info.run_id))

    def _history(self, run: str, metric: str) -> dict[int, float]:
        points = sorted(self.client.get_metric_history(run, metric), key=lambda point: point.timestamp)
        return {point.step: point.value for point in points}


def connect(root: Path) -> Store:
    """Open MLflow, and make its database and experiment on first use.

    Raises UnreachableError if its address does not answer, within about 5 s.
    """
    uri = tracking_uri(root)
    lock = lock_of(root, uri)
    _prepare_process()
    from mlflow import MlflowClient  # takes a second, so it is imported beside the stage's work

    # It logs a traceback of what is raised here anyway.
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    # The first creation of a SQLite database races between processes.
    with mlflow_errors(uri), locked(lock, wait_s=math.inf, what="the tracking database"):
        database = database_file(uri)
        if database is not None:
            make_database(database)
        if database is not None and is_a_projects(database):
            follow_project(database)
        client = MlflowClient(uri, registry_uri=uri)
        return Store(client, settled(uri, lambda: _experiment(client, uri, database)), uri, lock)


def ask(root: Path) -> None:
    """Ask the server at MLFLOW_TRACKING_URI for what a delivery needs, with its credentials; change nothing.

    Raises UnreachableError if it does not answer, EspalierError if it refuses.
    """
    uri = tracking_uri(root)
    _prepare_process()
    from mlflow import MlflowClient

    with mlflow_errors(uri):
        _find_experiment(MlflowClient(uri, registry_uri=uri), uri)


def open_session(stage: Stage, record: RunRecord) -> RunSession:
    """Connect, show the stage's run, and send what earlier stages could not deliver."""
    store = connect(stage.root)
    session = RunSession(store, stage.root, record)
    session.announce(record)
    for journal in all_journals(stage.root):
        if journal != stage.journal and not read_record(journal).delivered:
            try:
                _deliver(store, journal, stage.root)
            except LockedError:
                continue  # its own stage is at work
    return session


def _deliver(store: Store, journal: Path, root: Path) -> RunSession:
    """Send all of a journal whose stage has ended. Raises LockedError if a stage is delivering it."""
    with locked(journal_lock(journal), wait_s=0.0, what="this journal"):
        record = read_record(journal)
        session = RunSession(store, root, record)
        session.send(list(read_journal(journal)))
        session.close(record)
        write_record(journal, record.model_copy(update={"delivered": True}))
    return session


def _experiment(client: "mlflow.MlflowClient", uri: str, database: Path | None) -> str:
    """The id of the experiment, made or restored when needed; artifacts lie beside a file database."""
    found = _find_experiment(client, uri)
    if found is None:
        location = artifacts_beside(database) if database else None
        return str(client.create_experiment(EXPERIMENT, artifact_location=location, tags=EXPERIMENT_TAGS))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _find_experiment(client: "mlflow.MlflowClient", uri: str) -> "mlflow.entities.Experiment | None":
    """Raises UnreachableError if something else than an experiment comes back."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None and found.name != EXPERIMENT:
        raise foreign(uri)
    return found


def _prepare_process() -> None:
    """MLflow's settings for this process: short waits, no noise, no pickle.

    What the user's environment says stays.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    # MLflow 3.17 warns of itself while it is imported: of its tables under SQLAlchemy 2.1, and of its own
    # type hints.
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType", category=UserWarning)


def _chunks(items: list[ItemT], size: int) -> Iterator[list[ItemT]]:
    yield from (items[start : start + size] for start in range(0, len(items), size))


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
