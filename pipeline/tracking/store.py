"""The journal's way to MLflow; beside registry/ the only module that knows MLflow.

MLflow is a view and the journals are the truth: a run is found by its key (the tag `espalier.key`),
never by an id that was kept, so a deleted database is filled again by `espalier sync`.
"""

import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import EspalierError, LockedError, UnreachableError, shown
from pipeline.files import locked
from pipeline.report import read_journal
from pipeline.stage import STATE_FOLDER, Stage
from pipeline.tracking.records import RunRecord, all_journals, journal_lock, read_record, write_record
from pipeline.tracking.runs import Point, Run, RunSession

if TYPE_CHECKING:
    import mlflow

EXPERIMENT = "espalier"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Without it the UI opens the experiment on its pages for language models."""
KEY_TAG = "espalier.key"
MAX_POINTS, MAX_OTHERS = 1000, 100
"""Limits of one log_batch call: metrics; params or tags (mlflow/utils/validation.py)."""
REFUSALS = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}
"""What MLflow's client makes of these statuses."""
ENVIRONMENT = {
    # A request to a dead server would block for 247 s by default; here the journal is what waits.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass(frozen=True)
class SyncReport:
    """journals: those that MLflow now has; busy: those that a running stage is delivering itself."""

    journals: int
    points: int
    artifacts: int
    busy: tuple[str, ...]

    def __str__(self) -> str:
        text = f"MLflow has {self.journals} journals; {self.points} points and {self.artifacts} artifacts were sent"
        return text + "".join(f"\n{name}: left to the stage that is running" for name in self.busy)


def sync(root: Path) -> SyncReport:
    """Send MLflow what it lacks of every journal, after an outage or into a new database.

    Raises UnreachableError where the server does not answer, EspalierError where it refuses.
    """
    store = connect(root)
    sent: list[RunSession] = []
    busy: list[str] = []
    for journal in all_journals(root):
        try:
            sent.append(_deliver(store, journal, root))
        except LockedError:
            busy.append(journal.stem)
    return SyncReport(len(sent), sum(s.sent_points for s in sent), sum(s.sent_artifacts for s in sent), tuple(busy))


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, else a SQLite file below the project's folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _local_uri(root)


def local_folder(root: Path) -> Path:
    """Of the local database and its artifacts, below the project's folder."""
    return root.absolute() / STATE_FOLDER / "mlflow"


def artifact_root(root: Path) -> str:
    return (local_folder(root) / "artifacts").as_uri()


@dataclass(frozen=True)
class Store:
    """An MLflow that answered, and the experiment that holds all of Espalier's runs. A `pipeline.tracking.runs.Server`."""

    client: "mlflow.MlflowClient"
    experiment_id: str
    uri: str
    lock: Path

    def find(self, key: str) -> str | None:
        with mlflow_errors(self.uri):
            found = self._search(key)
        return found.info.run_id if found else None

    def obtain(self, key: str, name: str, started: float) -> Run:
        with mlflow_errors(self.uri), locked(self.lock, wait_s=math.inf, what="the tracking database"):
            run = self._search(key) or self.client.create_run(self.experiment_id, _ms(started), {KEY_TAG: key}, name)
            history = {metric: self._history(run.info.run_id, metric) for metric in run.data.metrics}
        return Run(run.info.run_id, run.info.status, dict(run.data.tags), dict(run.data.params), history)

    def log(self, run: str, points: Sequence[Point], params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        # Times come from the journal: a batch that arrived although its answer was lost is the same
        # rows again, and MLflow's primary key keeps them once.
        metrics = [Metric(p.key, p.value, _ms(p.time), p.step) for p in points]
        with mlflow_errors(self.uri):
            for start in range(0, len(metrics), MAX_POINTS):
                self.client.log_batch(run, metrics=metrics[start : start + MAX_POINTS])
            for name_values in _chunks(params):
                self.client.log_batch(run, params=[Param(name, value) for name, value in name_values])
            for name_values in _chunks(tags):
                self.client.log_batch(run, tags=[RunTag(name, value) for name, value in name_values])

    def log_artifact(self, run: str, path: Path, place: str | None) -> None:
        with mlflow_errors(self.uri):
            self.client.log_artifact(run, str(path), place)

    def set_status(self, run: str, status: str, ended: float | None) -> None:
        with mlflow_errors(self.uri):
            if status == "RUNNING":
                self.client.update_run(run, status=status)
            else:
                self.client.set_terminated(run, status, None if ended is None else _ms(ended))

    def _search(self, key: str) -> "mlflow.entities.Run | None":
        """The oldest run with this key; there is one, unless two machines made it at the same moment."""
        order = ["attributes.start_time ASC"]
        runs = self.client.search_runs([self.experiment_id], f"tags.`{KEY_TAG}` = '{key}'", order_by=order, max_results=1)
        return runs[0] if runs else None

    def _history(self, run: str, metric: str) -> dict[int, float]:
        points = sorted(self.client.get_metric_history(run, metric), key=lambda point: point.timestamp)
        return {point.step: point.value for point in points}


def connect(root: Path) -> Store:
    """Open MLflow, and make its database and experiment on first use.

    Raises UnreachableError where its address does not answer, within about 5 s.
    """
    uri, lock = tracking_uri(root), root.absolute() / STATE_FOLDER / "mlflow.lock"
    _prepare_process()
    from mlflow import MlflowClient  # takes a second, so it is imported beside the stage's work

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    # The first creation of a SQLite database races between processes.
    with mlflow_errors(uri), locked(lock, wait_s=math.inf, what="the tracking database"):
        if uri == _local_uri(root):
            _make_database(root)
        client = MlflowClient(uri, registry_uri=uri)
        return Store(client, _experiment(client, root, uri), uri, lock)


@contextmanager
def mlflow_errors(uri: str) -> Iterator[None]:
    """MLflow's exceptions become ours: UnreachableError without an answer, EspalierError for a refusal."""
    from mlflow.exceptions import MlflowException, RestException

    try:
        yield
    except MlflowException as error:
        if not isinstance(error, RestException) and error.error_code in REFUSALS:
            cure = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of an account that may"
            raise EspalierError(
                f"MLflow at {shown(uri)} refuses who asks (status {REFUSALS[error.error_code]}); {cure}"
            ) from error
        if uri.startswith("http") and not isinstance(error, RestException):
            address = f"MLflow at {shown(uri)} does not answer"
            raise UnreachableError(f"{address}; start it, or correct or unset MLFLOW_TRACKING_URI") from error
        raise EspalierError(f"MLflow at {shown(uri)} refuses: {shown(str(error).splitlines()[0])}") from error


def ask(root: Path) -> None:
    """Ask the server at MLFLOW_TRACKING_URI for what every delivery needs, with the same credentials; change nothing.

    Raises UnreachableError where it does not answer, EspalierError where it refuses.
    """
    uri = tracking_uri(root)
    _prepare_process()
    from mlflow import MlflowClient

    with mlflow_errors(uri):
        MlflowClient(uri, registry_uri=uri).get_experiment_by_name(EXPERIMENT)


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
    """Send all of a journal whose stage has ended. Raises LockedError where a stage is delivering it."""
    with locked(journal_lock(journal), wait_s=0.0, what="this journal"):
        record = read_record(journal)
        session = RunSession(store, root, record)
        session.send(list(read_journal(journal)))
        session.close(record)
        write_record(journal, record.model_copy(update={"delivered": True}))
    return session


def _make_database(root: Path) -> None:
    """Make the local database beside its place and move it there, because a kill while MLflow makes its tables spoils it."""
    from mlflow import MlflowClient

    database, partial = local_folder(root) / "mlflow.db", local_folder(root) / "mlflow.partial.db"
    if not database.exists():
        partial.unlink(missing_ok=True)
        MlflowClient(f"sqlite:///{partial}")
        partial.rename(database)


def _experiment(client: "mlflow.MlflowClient", root: Path, uri: str) -> str:
    """The id of the experiment, made or restored when needed; its artifacts lie beside a local database."""
    location = artifact_root(root) if uri == _local_uri(root) else None
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        return str(client.create_experiment(EXPERIMENT, artifact_location=location, tags=EXPERIMENT_TAGS))
    if location is not None and found.artifact_location != location:
        raise EspalierError(
            f"{local_folder(root)} was made in another folder and would write its artifacts there; "
            "delete it, then run `espalier sync` and `dvc repro -f -s register`"
        )
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _prepare_process() -> None:
    """MLflow's settings for this process: short waits, no noise, no pickle. What the user's environment says stays."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    # MLflow 3.17 warns of itself while it is imported: of its tables under SQLAlchemy 2.1, and of its own type hints.
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType", category=UserWarning)


def _chunks(values: Mapping[str, str]) -> Iterator[list[tuple[str, str]]]:
    items = list(values.items())
    yield from (items[start : start + MAX_OTHERS] for start in range(0, len(items), MAX_OTHERS))


def _local_uri(root: Path) -> str:
    return f"sqlite:///{local_folder(root) / 'mlflow.db'}"


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
