"""Which of a journal's events a tracking server lacks, and how they become a run there. Knows no MLflow.

A run is asked what it holds before anything is sent to it, so a delivery can be repeated, cut off
anywhere, or start from an empty database, and every point is there once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pipeline.base.files import sha256_json, sha256_tree
from pipeline.tracking.records import RunRecord

LAST_STAGE = "register"
"""What this stage reports is what a person compares, so it goes to the pipeline's run too."""
ARTIFACTS_TAG = "espalier.artifacts"


class MetricPoint(NamedTuple):
    """One value of one metric; time in seconds since 1970."""

    key: str
    value: float
    time: float
    step: int


@dataclass(frozen=True)
class TrackedRun:
    """What a server holds of a run; history is metric -> step -> newest value.

    `Additions` keeps it up to date.
    """

    id: str
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    history: dict[str, dict[int, float]]


class TrackingServer(Protocol):
    """A tracking server, as narrow as it is needed here. Raises EspalierError or OSError if it fails."""

    def find(self, key: str) -> str | None:
        """The id of the run with this key."""

    def obtain(self, key: str, name: str, started: float) -> TrackedRun:
        """The run with this key, made now if there is none."""

    def log(
        self, run: str, points: Sequence[MetricPoint], params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        """Add points, params and tags to a run."""

    def log_artifact(self, run: str, path: Path, place: str | None) -> None:
        """Copy a file or folder to a folder of the run's artifacts."""

    def set_status(self, run: str, status: str, ended: float | None) -> None:
        """RUNNING, or the status and time (s since 1970) of a run's end."""


class Additions:
    """Adds to one run what it does not hold yet."""

    def __init__(self, server: TrackingServer, run: TrackedRun) -> None:
        self._server = server
        self._status = run.status
        self.run = run

    def points(self, points: Sequence[MetricPoint]) -> int:
        """Send the steps that are missing, oldest first; the number sent."""
        missing = {(p.key, p.step): p for p in points if p.step not in self.run.history.get(p.key, {})}
        return self._send(list(missing.values()))

    def finals(self, points: Sequence[MetricPoint]) -> int:
        """Send final values that are absent, or differ from the run's newest; the number sent."""
        return self._send([p for p in points if self.run.history.get(p.key, {}).get(p.step) != p.value])

    def _send(self, points: list[MetricPoint]) -> int:
        if points:
            self._server.log(self.run.id, points, {}, {})
        for point in points:
            self.run.history.setdefault(point.key, {})[point.step] = point.value
        return len(points)

    def describe(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        new_params = {name: value for name, value in params.items() if name not in self.run.params}
        new_tags = {name: value for name, value in tags.items() if self.run.tags.get(name) != value}
        if new_params or new_tags:
            self._server.log(self.run.id, [], new_params, new_tags)
        self.run.params.update(new_params)
        self.run.tags.update(new_tags)

    def artifacts(self, root: Path, digests: Mapping[str, str]) -> int:
        """Upload paths by their digests, unless the run has them all; the number uploaded.

        A path that holds something else by now belongs to another state of the pipeline and is left out.
        """
        if not digests or self.run.tags.get(ARTIFACTS_TAG) == sha256_json(dict(digests)):
            return 0
        current = [
            path for path in digests if (root / path).exists() and sha256_tree(root / path) == digests[path]
        ]
        for path in current:
            self._server.log_artifact(self.run.id, root / path, artifact_folder(root, path))
        if len(current) == len(digests):
            self.describe({}, {ARTIFACTS_TAG: sha256_json(dict(digests))})
        return len(current)

    def status(self, status: str, ended: float | None = None) -> None:
        if self._status != status:
            self._server.set_status(self.run.id, status, ended)
            self._status = status


class RunSession:
    """Brings one journal's events to its run, and at the end what belongs to the pipeline's run."""

    def __init__(self, server: TrackingServer, root: Path, record: RunRecord) -> None:
        self._server, self._root = server, root
        self._curves: dict[str, float] = {}
        self._finals: dict[str, MetricPoint] = {}
        self._artifacts: dict[str, str] = {}
        self.sent_points = self.sent_artifacts = 0
        self._stage = Additions(server, server.obtain(record.run_key, record.stage, record.started))
        self._stage.describe(record.params, {"espalier.stage": record.stage})

    def announce(self, record: RunRecord) -> None:
        """Show the run as running; one that was killed or failed before is taken up again."""
        self._stage.status("RUNNING")
        pipeline = self._pipeline(record)
        if pipeline is not None:
            pipeline.status("RUNNING")

    def send(self, events: list[dict[str, Any]]) -> None:
        points: list[MetricPoint] = []
        for event in events:
            if event["kind"] == "artifact":
                self._artifacts[event["path"]] = event["sha256"]
            elif event["step"] is None:
                self._finals |= {
                    key: MetricPoint(key, value, event["time"], 0) for key, value in event["values"].items()
                }
            else:
                points += [
                    MetricPoint(key, value, event["time"], event["step"])
                    for key, value in event["values"].items()
                ]
                self._curves |= event["values"]
        self.sent_points += self._stage.points(points)

    def close(self, record: RunRecord) -> None:
        status = "KILLED" if record.status == "RUNNING" else record.status
        self._report(self._stage)
        self._stage.status(status, record.ended)
        pipeline = self._pipeline(record)
        if pipeline is not None:
            pipeline.describe({}, self._links(record))
            if record.stage == LAST_STAGE:
                self._report(pipeline)
            pipeline.status(status, record.ended)

    def _report(self, run: Additions) -> None:
        self.sent_points += run.finals(self._final_points())
        self.sent_artifacts += run.artifacts(self._root, self._artifacts)

    def _final_points(self) -> list[MetricPoint]:
        """Final values; one that also has a curve is added only if it differs from the curve's end."""
        alone = [point for key, point in self._finals.items() if key not in self._curves]
        beside = [
            point for key, point in self._finals.items() if self._curves.get(key, point.value) != point.value
        ]
        return [*alone, *(point._replace(key=f"final/{point.key}") for point in beside)]

    def _pipeline(self, record: RunRecord) -> Additions | None:
        """The run of the pipeline's state, once that is known; it adopts the stage's run if no other has."""
        if record.pipeline_key is None:
            return None
        pipeline = obtain_pipeline(self._server, record.pipeline_key, record.pipeline_params, record.started)
        if "mlflow.parentRunId" not in self._stage.run.tags:
            self._stage.describe({}, {"mlflow.parentRunId": pipeline.run.id})
        return pipeline

    def _links(self, record: RunRecord) -> dict[str, str]:
        """Tags for the stage's own run and those that its inputs came from, now or from the cache."""
        keys = {**record.upstream, record.stage: record.run_key}
        found = {stage: self._server.find(key) for stage, key in keys.items()}
        return {
            f"espalier.run.{stage.replace('@', '.')}": run for stage, run in found.items() if run is not None
        }


def obtain_pipeline(server: TrackingServer, key: str, params: Mapping[str, str], started: float) -> Additions:
    """The run of a pipeline's state, with every section of params.yaml that decides a result."""
    pipeline = Additions(server, server.obtain(key, f"pipeline {key[:8]}", started))
    pipeline.describe(params, {})
    return pipeline


def artifact_folder(root: Path, path: str) -> str | None:
    """The folder of an artifact inside its run: as in the project, or the top for a path from elsewhere."""
    full = (root / path).absolute()
    if not full.is_relative_to(root.absolute()):
        return None
    folder = full.relative_to(root.absolute()).parent.as_posix()
    return None if folder == "." else folder
