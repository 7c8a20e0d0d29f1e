"""`espalier frontier run`: every point becomes an experiment; killed anywhere, run it again."""

import math
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.base.files import locked
from pipeline.base.params import parse_section
from pipeline.check.check import check_elsewhere
from pipeline.doctor.folders import dvc_cache
from pipeline.errors import EspalierError, ParamsError, TrainingError
from pipeline.frontier.experiments import head, names, save
from pipeline.frontier.points import DENSE, MEASURED, Project, SweepPoint, parse_settings, points
from pipeline.frontier.workshop import PointWorkspace, clear_killed
from pipeline.launch.resources import Resources, cluster_address
from pipeline.process.leftovers import is_held
from pipeline.repro.mend import mended
from pipeline.tracking.store import connect


def sweep(root: Path, settings: Sequence[str], jobs: int) -> None:
    """Make experiments of all points, `jobs` at a time.

    Raises ParamsError before anything runs, and EspalierError at the end if points failed.
    """
    mended(root)
    project = Project(root)
    wanted = points(project, parse_settings(settings))
    _check_room(project, jobs)
    clear_killed(root, {point.name for point in wanted})
    commit = head(root)
    there, cache = names(root, commit), dvc_cache(root)
    _say(f"{len(wanted)} points, {sum(point.name in there for point in wanted)} of them experiments already")
    # If a folder is left, the sweep was killed at its point, perhaps after the experiment was made.
    open_points = [
        point
        for point in wanted
        if point.name not in there or PointWorkspace(project, point, cache).folder.exists()
    ]
    if open_points:
        check_elsewhere(root, [point.values for point in open_points])
        _Sweep(project, commit, cache, jobs).run(open_points)
    _say("`espalier frontier show` draws them, `dvc exp show` lists them")


class _Sweep:
    def __init__(self, project: Project, commit: str, cache: Path, jobs: int) -> None:
        self._project, self._commit, self._cache, self._jobs = project, commit, cache, jobs
        self._failed: list[str] = []
        self._interrupted = threading.Event()

    def run(self, open_points: Sequence[SweepPoint]) -> None:
        with suppress(EspalierError):  # a server that is down leaves all in the journals
            connect(self._project.root)
        if self._jobs > 1:
            self._make_dense(open_points[0])
            self._report()
        with ThreadPoolExecutor(self._jobs) as pool:
            try:
                list(pool.map(self._one_by_one, parallel_groups(open_points)))
            except KeyboardInterrupt:
                self._interrupted.set()  # dvc and its stages got the same signal
                pool.shutdown(cancel_futures=True)
                sys.exit("\ninterrupted; what is complete is kept, and the same command goes on from there")
        self._report()

    def _report(self) -> None:
        if self._failed:
            names = ", ".join(self._failed)
            raise EspalierError(
                f"failed: {names}, see above; the same command tries again what is not complete"
            )

    def _one_by_one(self, group: Sequence[SweepPoint]) -> None:
        for point in group:
            if not self._interrupted.is_set():
                self._make(point)

    def _make_dense(self, point: SweepPoint) -> None:
        """Train dense in the folder of the first point, before several would train it at the same time."""
        with self._at(point) as (workspace, lock):
            self._repro(workspace, lock, [DENSE])

    def _make(self, point: SweepPoint) -> None:
        with self._at(point) as (workspace, lock):
            if point.name not in names(
                self._project.root, self._commit
            ):  # else another sweep made it meanwhile
                self._repro(workspace, lock, MEASURED)
                save(
                    self._project.root,
                    workspace.folder,
                    self._commit,
                    point.name,
                    f"espalier frontier: {point.label}",
                )
                _say(f"{point.name}  {point.label}: done")
            workspace.clear()

    def _repro(self, workspace: PointWorkspace, lock: int, files: Sequence[str]) -> None:
        _say(f"{workspace.point.name}  {workspace.point.label}: starts, see {os.path.relpath(workspace.log)}")
        workspace.prepare()
        workspace.repro(self._project.producers(files), lock)

    @contextmanager
    def _at(self, point: SweepPoint) -> Iterator[tuple[PointWorkspace, int]]:
        """Work on a point that no other sweep is at, behind a lock; its failure stops no others."""
        workspace = PointWorkspace(self._project, point, self._cache)
        if is_held(workspace.lock):
            _say(f"{point.name}  {point.label}: waits for an earlier sweep that is still at it")
        try:
            with locked(workspace.lock, wait_s=math.inf, what="a point") as lock:
                yield workspace, lock
        except (EspalierError, OSError) as error:
            if not self._interrupted.is_set():
                self._failed.append(point.name)
                _say(f"{point.name}  {point.label}: failed: {error}")


def parallel_groups(open_points: Sequence[SweepPoint]) -> list[list[SweepPoint]]:
    """Groups that may run at the same time; points of one share the fine-tuned model that the first makes."""
    groups: dict[str, list[SweepPoint]] = {}
    for point in open_points:
        groups.setdefault(point.training, []).append(point)
    return list(groups.values())


def _check_room(project: Project, jobs: int) -> None:
    """Refuse several trainings at once on this machine, where they would only take CPUs from each other."""
    if jobs < 1:
        raise ParamsError("--jobs is a number of points at a time; give 1 or more")
    resources = parse_section("resources", project.values.get("resources"), Resources)
    if jobs == 1 or cluster_address(resources):
        return
    cpus, workers, threads = len(os.sched_getaffinity(0)), resources.workers, resources.threads_per_worker
    each = workers * threads if isinstance(workers, int) and isinstance(threads, int) else cpus
    if jobs * each > cpus:
        raise TrainingError(
            f"--jobs {jobs}: {jobs} trainings of {each} CPUs each do not fit into the {cpus} of this "
            "machine; lower --jobs or resources.workers, or name a cluster (RAY_ADDRESS), where Ray starts "
            "them as room gets free"
        )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
