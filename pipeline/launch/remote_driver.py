"""Training on a cluster of which this machine is no node: its job server starts the driver there.

Code and request travel as the job's working directory. Data go and results come through the storage, as for
every run whose workers share no disk with its driver (train/transport/driver.py).
"""

import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from pipeline.base.files import write_atomic
from pipeline.errors import EXIT_NODE_INCOMPLETE, SubmitError, TrainingError, UnreachableError
from pipeline.job_server import Server
from pipeline.launch.ray_cluster import LaunchRequest
from pipeline.train.job import Job
from pipeline.train.transport.driver import driver_id

REQUEST_NAME = "launch.json"
ENTRYPOINT = f"python -m pipeline.jobs.start {REQUEST_NAME}"
CODE = Path(__file__).parents[1]
END_S = 60.0
"""Time until a job that was told to stop has ended: Ray takes its workers down first."""
POLL_S = 0.5
DIED = 1


def attempt_remotely(request: LaunchRequest, server: Server) -> int:
    """Drive one attempt there, show what it prints, return its exit status; interrupted, it ends the job.

    Raises SubmitError and UnreachableError if no job is taken, TrainingError if the head lacks what a
    training needs.
    """
    _end_earlier(request.job, server)
    name = f"{_prefix(request.job)}{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        shutil.copytree(CODE, tree / CODE.name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(CODE.parent / "pyproject.toml", tree)  # by which the head looks for what it lacks
        write_atomic(tree / REQUEST_NAME, request.model_dump_json())
        try:
            server.submit(tree, name, ENTRYPOINT, {"run": request.job.site.run_dir.name})
            return _followed(name, server)
        except KeyboardInterrupt:
            server.stop(name)
            raise


def _followed(name: str, server: Server) -> int:
    try:
        state = server.follow(name)
    except UnreachableError as error:
        raise UnreachableError(
            f"{error}. A training there ends without this stage; run it again to go on from the last "
            "checkpoint"
        ) from error
    except SubmitError as error:  # the head was started anew, and its jobs are gone
        sys.stderr.write(f"espalier: {error}\n")
        return DIED
    if state.status == "SUCCEEDED":
        return 0
    if state.exit_code == EXIT_NODE_INCOMPLETE:
        raise TrainingError(f"the head at {server.address} cannot train, see above")
    if state.exit_code is None:  # it never ran, or was stopped
        sys.stderr.write(f"espalier: {name} ended as {state.status}: {state.message}\n")
    return state.exit_code or DIED


def _prefix(job: Job) -> str:
    """Prefix of the names of a run's jobs: which run, and for which folder of which machine."""
    return f"{job.site.run_dir.name}-{driver_id(job)}-"


def _end_earlier(job: Job, server: Server) -> None:
    """End what a stage before this one left behind. It is dead, because its run directory's lock is ours now.

    What another machine left ends by itself, and is fenced until then.
    """
    going_on = [
        name for name, state in server.jobs().items() if not state.is_over and name.startswith(_prefix(job))
    ]
    for name in going_on:
        server.stop(name)
    deadline = time.monotonic() + END_S
    while any(name in going_on and not state.is_over for name, state in server.jobs().items()):
        if time.monotonic() > deadline:
            raise TrainingError(
                f"{', '.join(going_on)} at {server.address} does not end; stop it with `ray job stop`"
            )
        time.sleep(POLL_S)
