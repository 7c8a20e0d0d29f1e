"""The door to Ray: `fit` on every worker of a local or running cluster, in launch/driver.py's process.

Ray Train places the workers, joins them in a process group and restarts them after a failure. What a
restarted worker resumes from is decided by our own checkpoints (train/checkpoints/local.py); nothing reads
Ray's snapshot file, which a kill can leave empty.
"""

import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.base.files import sha256_json
from pipeline.base.records import Record
from pipeline.errors import TrainingError, UnreachableError
from pipeline.job_server import token_remedy
from pipeline.launch.autoscaler import alive_nodes, await_nodes, cluster_limits
from pipeline.launch.resources import (
    Placement,
    Resources,
    choose_placement,
    cluster_address,
    count_gpus,
    gpu_note,
)
from pipeline.launch.worker import listen, work
from pipeline.process.leftovers import scratch
from pipeline.train.job import Job
from pipeline.train.params import FitParams
from pipeline.train.transport.driver import run_storage
from pipeline.train.worker_settings import WORKER_SETTINGS

RESIZE_EVERY_S = 30.0
"""How often a run with fewer workers asks for room for more; each resize restarts the workers."""
OBJECT_STORE_BYTES = 100_000_000
CONNECT_TIMEOUT_S = 10
RAYS_OWN = "r"
"""Ray's folder in ours: Ray opens its folder to every user of the machine (0777), ours lets none in."""
RAY_SETTINGS = {
    # the default of 2 s is paid at the start, the end and every failure
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # until a frozen process counts as lost; Ray's default is 600 s
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "20",
    # until a lost node's workers count as lost, with min_workers
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    # its processes lack the environment of ours, and only compete with them
    "RAY_prestart_worker_first_driver": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",  # Ray's default of 15 lets any other process take the cores from the training
}
LOCAL_SETTINGS = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one more process, and nobody drains a Ray of our own
    # after which a driver whose head is gone ends; Ray's default is 60 s
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
    "RAY_AUTH_MODE": "token",  # loopback keeps other machines out, the token other users of this one
    # Else Ray takes 127.0.0.1 for this machine's own address and listens to everyone, who could run code
    # here.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
ATTACHED_SETTINGS = {
    # until the workers of a draining node hear of it; Ray's default is 5 s
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
    # each takes 40 s if something else than Ray listens; Ray's default is 20
    "RAY_NUM_REDIS_GET_RETRIES": "1",
}
VERSIONS_DIFFER = "Version mismatch"
"""Start of Ray's RuntimeError if its version or Python's is not that of the cluster."""
JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in what a submitted job runs."""


class NotStartedError(Exception):
    """A Ray of our own did not come up, as on a machine that is too busy; another attempt may do better."""


class LaunchRequest(Record):
    """What a driver reads from launch.json: the training, and where to run it."""

    job: Job
    resources: Resources


def drive(request: LaunchRequest) -> None:
    """Run `fit(job)` on the workers that `resources` say until it is done. Raises EspalierError."""
    with _cluster(request.resources, request.job) as placement:
        while not _run_trainer(request.job, request.resources, placement):
            sys.stderr.write(
                "espalier: a worker was told to go; training goes on elsewhere from the step that it "
                "reached\n"
            )


def _run_trainer(job: Job, resources: Resources, placement: Placement) -> bool:
    """Whether the training is over; False if its workers left after a checkpoint, told to go."""
    from ray.train import FailureConfig, RunConfig, TrainingFailedError
    from ray.train.v2.api.config import ScalingConfig

    trainer = _trainer_class(is_local=cluster_address(resources) is None)(
        work,
        backend_config=_listening(),
        train_loop_config={
            "job": job.model_dump_json(),
            "device": placement.device,
            "threads": placement.threads,
        },
        scaling_config=ScalingConfig(
            num_workers=(resources.min_workers, placement.workers)
            if resources.min_workers
            else placement.workers,
            elastic_resize_monitor_interval_s=RESIZE_EVERY_S,
            use_gpu=placement.device == "cuda",
            resources_per_worker=placement.needs,
            placement_strategy=resources.placement.upper(),
            accelerator_type=resources.accelerator,
        ),
        run_config=RunConfig(
            name="train",
            # Ray silently goes on with an old run of the same name and storage, so each launch gets its own.
            storage_path=f"{run_storage(job).url}/ray-{secrets.token_hex(4)}"
            if job.site.storage
            else tempfile.mkdtemp(dir=job.site.run_dir, prefix="ray-"),
            failure_config=FailureConfig(max_failures=resources.max_failures),
        ),
    )
    try:
        result: Any = trainer.fit()
    except TrainingFailedError as error:
        raise TrainingError(
            f"training gave up after {resources.max_failures} restarts of its workers: {_cause(error)}. "
            "Checkpoints are kept: run the stage again to go on from the last one"
        ) from error
    return bool(result.return_value)


def _trainer_class(*, is_local: bool) -> Any:
    """Ray's trainer without the processes that nothing here needs, each of which imports for 3 s.

    What TorchTrainer adds to it is the process group, which needs torch in this process and in the controller
    before the workers even start; they form it themselves (worker.py).
    """
    from ray.train.v2._internal.callbacks import DatasetsCallback
    from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    # Workers read their shards themselves; and in a Ray of our own nothing outlives the controller whose
    # places could be freed.
    unused = (DatasetsCallback, PlacementGroupCleanerCallback) if is_local else (DatasetsCallback,)

    class Trainer(DataParallelTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            return [each for each in super()._create_default_callbacks() if not isinstance(each, unused)]

    return Trainer


def _listening() -> Any:
    """Makes every worker's main thread, which alone can, listen to SIGTERM; trainings run in another."""
    from ray.train.backend import Backend, BackendConfig

    class Listening(Backend):
        def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
            worker_group.execute(listen)

    class Config(BackendConfig):
        backend_cls = Listening

    return Config()


@contextmanager
def _cluster(resources: Resources, job: Job) -> Iterator[Placement]:
    """Connect to the cluster at RAY_ADDRESS or resources.address, or start a local one for the block.

    Yields the room that the training gets there.
    """
    address = cluster_address(resources)
    with _ray_folder(job.site.run_dir) as temporary:
        settings = RAY_SETTINGS | (ATTACHED_SETTINGS if address else LOCAL_SETTINGS | _token(temporary))
        os.environ.update({name: value for name, value in settings.items() if name not in os.environ})
        import ray  # which reads some of these settings now

        if address is None:
            _start_few_processes(resources)
        try:
            with _explained(address):
                ray.init(
                    **(_attached(address) if address else _local(resources, temporary)),
                    log_to_driver=resources.show_ray_logs,
                    logging_level=logging.INFO if resources.show_ray_logs else logging.ERROR,
                    runtime_env=_environment(job),
                )
            if not resources.show_ray_logs:
                logging.getLogger("ray").setLevel(logging.ERROR)
            yield _placement(resources, job.problem.params, address)
        except ConnectionError as error:
            raise _unreachable(str(address)) from error
        finally:
            ray.shutdown()


def _start_few_processes(resources: Resources) -> None:
    """Leave out the processes of a Ray of our own that nothing here needs.

    That is the one that, without a dashboard, only reports to Ray's makers: switched off, it still asks the
    network which cloud this machine belongs to (ray/_common/usage/usage_lib.py). And the autoscaler's, which
    has no other node to start, and the one that brings us the logs, if they are not shown.
    """
    from ray._private.node import Node

    unused = ["start_api_server", "start_monitor"]
    for name in unused if resources.show_ray_logs else [*unused, "start_log_monitor"]:
        setattr(Node, name, lambda *_, **__: None)


def _placement(resources: Resources, params: FitParams, address: str | None) -> Placement:
    """Placement of the training, once its nodes are up.

    Raises TrainingError if they never can be, or do not come in time.
    """
    limits = cluster_limits() if address and resources.await_nodes_s else None
    # `auto` counts what may be started: what happens to be there would make the same run end in other bits.
    where = address or "this machine"
    nodes, most = (limits.nodes, limits.most) if limits else (alive_nodes(), None)
    if limits:
        where = f"{address}, with all nodes that its autoscaler may start,"
    placement = choose_placement(resources, nodes, params.global_batch_size, where, most, params.most_workers)
    if note := gpu_note(resources, placement, count_gpus(resources, nodes, most)):
        sys.stderr.write(f"espalier: {note}\n")
    if limits and address:
        await_nodes(resources, placement, address)
    return placement


def _environment(job: Job) -> dict[str, Any]:
    """Preparation of each node for our workers: settings, and our code if they don't see this folder."""
    variables = WORKER_SETTINGS | {"PYTHONPATH": str(Path.cwd())}
    # A job that was submitted brings the whole project to every node by itself.
    brings_code = job.site.storage is None or JOB_VARIABLE in os.environ
    return {"env_vars": variables} | ({} if brings_code else {"py_modules": [str(Path(__file__).parents[1])]})


@contextmanager
def _ray_folder(run_dir: Path) -> Iterator[Path]:
    """This user's folder (0700) for the token and a local Ray; short, as a socket's path has 107 bytes.

    Its name says the run, so that what a killed attempt left is cleared by the next, and ends in something
    random, because that attempt's Ray may still be about to end.
    """
    with scratch(Path(), _ray_name(run_dir), place=Path(tempfile.gettempdir())) as folder:
        try:
            yield folder
        finally:
            for other in ray_folders(run_dir):
                shutil.rmtree(other, ignore_errors=True)


def ray_folders(run_dir: Path) -> list[Path]:
    """Folders of this user's local Rays of a run on this disk."""
    found = Path(tempfile.gettempdir()).glob(f"{_ray_name(run_dir)}-*")
    return [folder for folder in found if folder.lstat().st_uid == os.geteuid()]


def _ray_name(run_dir: Path) -> str:
    return f"ray-{sha256_json(str(run_dir))[:8]}"


def _token(folder: Path) -> dict[str, str]:
    """A new token for a cluster of our own, in a file that only this user may read."""
    path = folder / "token"
    path.touch(0o600)
    path.write_text(secrets.token_hex(32), encoding="utf-8")
    return {"RAY_AUTH_TOKEN_PATH": str(path)}


def _local(resources: Resources, temporary: Path) -> dict[str, Any]:
    """A cluster of this process alone: loopback, no dashboard, its own folder, apart from any other Ray."""
    return {
        "address": "local",
        "num_cpus": _local_cpus(resources),
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": str(temporary / RAYS_OWN),
    }


def _local_cpus(resources: Resources) -> int:
    """CPUs that are asked for, whether they exist or not; for `auto` those that this process may use."""
    workers, threads = resources.workers, resources.threads_per_worker
    return (
        workers * threads
        if isinstance(workers, int) and isinstance(threads, int)
        else len(os.sched_getaffinity(0))
    )


def _attached(address: str) -> dict[str, Any]:
    """A cluster that is there. Raises UnreachableError: Ray itself would try a dead address for minutes."""
    host, _, port = address.rpartition(":")
    if address != "auto":
        try:
            socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()
        except (OSError, ValueError) as error:
            raise _unreachable(address) from error
    return {"address": address}


@contextmanager
def _explained(address: str | None) -> Iterator[None]:
    """Around ray.init: a cluster that refuses us is told from one that does not answer.

    Raises TrainingError, NotStartedError for a Ray of our own, for which Ray has errors of many kinds.
    """
    from ray.exceptions import AuthenticationError

    with warnings.catch_warnings():
        # Ray warns of its own future defaults, which a user of this project cannot act on.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            yield
        except Exception as error:
            if address is None:
                raise NotStartedError(f"Ray did not start: {_cause(error)}") from error
            # Ray names a token that was refused in the text of what caused its ConnectionError, and nowhere
            # else.
            if isinstance(error, AuthenticationError) or AuthenticationError.__name__ in str(error.__cause__):
                raise TrainingError(
                    f"the Ray cluster at {address} refuses the token; {token_remedy()}"
                ) from error
            if str(error).startswith(VERSIONS_DIFFER):
                said = " ".join(str(error).split())
                raise TrainingError(
                    f"the Ray cluster at {address} is of another version; install the same: {said}"
                ) from error
            raise


def _unreachable(address: str) -> UnreachableError:
    return UnreachableError(
        f"no Ray cluster answers at {address}; start one (`ray start --head` prints its host:port), "
        "or unset RAY_ADDRESS and set resources.address to null for a local one"
    )


def _cause(error: Exception) -> str:
    """The last line of a worker's failure, which names what happened; the kind of an error without words."""
    failures = getattr(error, "worker_failures", {})
    text = str(next(iter(failures.values()), error)).strip()
    return text.splitlines()[-1] if text else type(error).__name__
