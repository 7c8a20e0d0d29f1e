"""All checks, in the order in which one would mend what they find."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pipeline.base.params import parse_section
from pipeline.base.stage import STATE_FOLDER
from pipeline.base.yaml_file import read_yaml
from pipeline.doctor.finding import CheckResult, Finding, one_line, problem, skipped
from pipeline.doctor.folders import (
    dvc_cache,
    dvc_site_cache,
    folders,
    shared_memory,
    socket_paths,
    temporary_folder,
)
from pipeline.doctor.leftovers import dead_ray_folders, dvc_files, run_locks, scratch_folders
from pipeline.doctor.mlflow_services import journals, mlflow
from pipeline.doctor.places import remote, storage
from pipeline.doctor.ports import PORTS, port
from pipeline.doctor.project import params, secrets, stages
from pipeline.doctor.ray_services import job_server, ray_cluster, ray_token
from pipeline.doctor.versions import packages, python
from pipeline.errors import EspalierError, ParamsError, TrainingError, redacted
from pipeline.launch.resources import Resources, cluster_address

Check = tuple[str, Callable[[], CheckResult]]


def examine(root: Path, checks: Iterable[Check] | None = None) -> Iterator[Finding]:
    """One finding for each check, as it is made.

    A check that cannot be made is a problem, never an exception.
    """
    for name, check in _checks(root) if checks is None else checks:
        verdict = _made(check)
        yield Finding(name, verdict.state, redacted(verdict.text))


def _checks(root: Path) -> Iterator[Check]:
    yield "python", python
    yield "packages", lambda: packages(root)
    yield "params.yaml", lambda: params(root)
    yield "dvc.yaml", lambda: stages(root)
    yield "secrets", lambda: secrets(root)
    yield "folders", lambda: folders([root, root / STATE_FOLDER, dvc_cache(root), temporary_folder()])
    yield "DVC site cache", lambda: dvc_site_cache(root)
    yield "shared memory", shared_memory
    yield "run locks", lambda: run_locks(root)
    yield "DVC's files", lambda: dvc_files(root)
    yield "temp files", lambda: scratch_folders(root, temporary_folder())
    yield "Ray leftovers", lambda: dead_ray_folders(temporary_folder())
    for each in PORTS:
        yield "port", lambda each=each: port(each)  # type: ignore[misc]
    yield from _remote_checks(root)
    yield "MLflow", lambda: mlflow(root)
    yield "journals", lambda: journals(root)


def _remote_checks(root: Path) -> Iterator[Check]:
    """Checks that `resources` decides; if it is not valid, what the environment tells instead."""
    resources = _resources(root)
    has_cluster = _names_a_cluster(resources)
    server = os.environ.get("RAY_API_SERVER_ADDRESS")
    place = resources.storage if resources else None
    unknown = skipped("params.yaml is not valid")
    yield (
        "Ray cluster",
        lambda: ray_cluster(cluster_address(resources)) if has_cluster or resources else unknown,
    )
    yield (
        "Ray sockets",
        lambda: socket_paths(temporary_folder()) if not has_cluster else skipped("no local Ray is used"),
    )
    yield "Ray jobs", lambda: job_server(server)
    yield "Ray token", lambda: ray_token(uses_cluster=bool(has_cluster or server))
    yield "storage", lambda: storage(place) if resources else unknown
    yield (
        "DVC remote",
        lambda: remote(root) if place or server else skipped("neither a storage nor a job server is set"),
    )


def _resources(root: Path) -> Resources | None:
    try:
        return parse_section("resources", read_yaml(root / "params.yaml").get("resources"), Resources)
    except ParamsError:
        return None  # which the check of params.yaml tells


def _names_a_cluster(resources: Resources | None) -> bool:
    try:
        return cluster_address(resources) is not None
    except TrainingError:
        return True  # the check of the cluster tells what is wrong with its address


def _made(check: Callable[[], CheckResult]) -> CheckResult:
    try:
        return check()
    except EspalierError as error:
        return problem(*str(error).splitlines())
    except ImportError as error:
        return problem(f"{one_line(error)}; `make setup` installs what is missing")
    except Exception as error:  # whatever it is, the other checks are still worth making
        return problem(
            f"{type(error).__name__}: {one_line(error)}; run this in the project's folder, as the user who "
            "owns it"
        )
