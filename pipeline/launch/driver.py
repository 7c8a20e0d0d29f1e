"""The stage's side of training: a child process drives Ray, and is started again if it dies.

If this machine is no node of the cluster, a job there takes the child's place (launch/remote_driver.py).

Ray ends the process that drives it when its head is gone, without an exception, and has errors of its own for
a dead controller. All that lives through it are our checkpoints, from which the next attempt goes on.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.base.files import check_room, write_atomic
from pipeline.errors import EspalierError, TrainingError
from pipeline.job_server import JobServer
from pipeline.launch import remote_driver
from pipeline.launch.ray_cluster import LaunchRequest, NotStartedError, drive, ray_folders
from pipeline.launch.resources import Resources, cluster_address, is_job_server
from pipeline.process.leftovers import users_temporary_folder
from pipeline.tracking.progress import live_line
from pipeline.train.job import Job
from pipeline.train.transport.collect import result_folder
from pipeline.train.transport.driver import (
    await_silence,
    collect,
    finish,
    read_user_error,
    received,
    report_user_error,
    send,
    signs_of_life,
    user_error_path,
)

EXIT_INTERNAL = 70
"""Exit status for an error in this program (EX_SOFTWARE of sysexits.h), which a retry would meet again."""
CLEARS_S = 5.0
"""How long an interrupted stage waits for the process that drives Ray to end what it started."""
KILLED_S = 0.5
"""Time until what got SIGKILL writes no more. Not until it is gone: in a container nobody may reap it."""


def launch(
    job: Job, resources: Resources, name: str, attempt: Callable[[LaunchRequest], int] | None = None
) -> None:
    """Run `fit(job)` on the workers that `resources` say and show the live line until it is done.

    attempt: drives Ray once, and returns the exit status of what did; by itself a process here, or a job of
    the cluster's.

    Raises TrainingError if workers cannot be placed or keep failing, if the cluster does not answer, and with
    the message of whatever EspalierError a worker met; LockedError if another driver trains the same in the
    storage; DiskError if a disk of this machine has no room.
    """
    if result_folder(job).exists():
        return  # of a run before this one, which ended before the stage took it over
    user_error_path(job).unlink(missing_ok=True)
    server = _job_server(resources)
    if server is None:
        for folder in (
            job.site.run_dir,
            users_temporary_folder(),
        ):  # of checkpoints, and of what a Ray of our own leaves
            check_room(folder)
    if resources.storage:
        job = send(job, resources.storage)
    request = LaunchRequest(job=job, resources=resources)
    with live_line(job.site.run_dir, name, sys.stderr):
        with signs_of_life(job):
            with received(job):
                _attempts(request, attempt or _attempt_by(server), name)
            collect(job)
        finish(job)  # not before the last of what the workers sent was received


def _attempts(request: LaunchRequest, attempt: Callable[[LaunchRequest], int], name: str) -> None:
    """Drive Ray until the training is done. Raises as launch does."""
    for left in reversed(range(request.resources.max_failures + 1)):
        status = attempt(request)
        if fault := read_user_error(request.job):
            raise TrainingError(fault)
        if status == 0:
            return
        if status == EXIT_INTERNAL:
            raise EspalierError(
                "an error in this program ended the training, see above; complete checkpoints are kept"
            )
        sys.stderr.write(
            f"espalier {name}: {_death(status)}; {left} more attempts from the last checkpoint\n"
        )
    raise TrainingError(
        f"the process that drives Ray died {request.resources.max_failures + 1} times; show_ray_logs may "
        "tell why. Checkpoints are kept: run the stage again to go on from the last one"
    )


def _attempt_by(server: JobServer | None) -> Callable[[LaunchRequest], int]:
    return partial(remote_driver.attempt_remotely, server=server) if server else _attempt


def _job_server(resources: Resources) -> JobServer | None:
    """Job server of the cluster, if this machine is no node of it.

    Raises TrainingError if no storage joins the two, UnreachableError and SubmitError if it takes no job.
    """
    address = cluster_address(resources)
    if address is None or not is_job_server(address):
        return None
    if resources.storage is None:
        raise TrainingError(
            "the cluster is named by its job server, so its nodes share no disk with this machine; set "
            "resources.storage to s3://bucket/prefix, or to a folder that all of them mount"
        )
    server = JobServer(address)
    server.check()  # before data are sent
    return server


def _attempt(request: LaunchRequest) -> int:
    """Its exit status. The pipe to its stdin closes when this process ends, however it ends, and ends it too.

    A session of its own keeps a terminal's Ctrl-C from it: this process answers that, in one line.
    """
    path = request.job.site.run_dir / "launch.json"
    write_atomic(path, request.model_dump_json())
    command = [sys.executable, "-m", "pipeline.launch.driver", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        try:
            return process.wait()
        except BaseException:
            assert process.stdin is not None
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(CLEARS_S)
            process.kill()
            raise


def _death(status: int) -> str:
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"the process that drives Ray died ({how}), or Ray's head or controller did"


def main(path: Path, *, is_attached: bool) -> None:
    """The child: drive one attempt. Exit status 0 when it is done or has met a user's error, EXIT_INTERNAL
    for an error of ours.

    Any other end is a death, of Ray's controller or of its head, that another attempt survives.
    """
    request = LaunchRequest.model_validate_json(path.read_bytes())
    wait = partial(await_silence, request.job) if is_attached else sys.stdin.buffer.read
    threading.Thread(
        target=_end_after, args=(wait, request.job.site.run_dir), daemon=True, name="end-with-parent"
    ).start()
    status = 0
    try:
        drive(request)
    except EspalierError as error:
        if is_attached:  # its disk is not the stage's
            report_user_error(request.job, str(error))
        else:
            write_atomic(user_error_path(request.job), str(error))
    except NotStartedError as error:
        sys.stderr.write(f"espalier: {error}\n")
        status = 1
    except Exception as error:  # each of Ray's errors, whatever it derives from, must end in a status
        status = 1 if type(error).__module__.startswith("ray.") else EXIT_INTERNAL
        if status == EXIT_INTERNAL or request.resources.show_ray_logs:
            traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _end_after(wait: Callable[[], object], run_dir: Path) -> None:
    """Wait until the stage is gone, and end this process and all that it started, down to Ray's folder."""
    wait()
    folders = ray_folders(run_dir)  # now, because soon the next attempt may make one of its own
    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, KILLED_S)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    words = argparse.ArgumentParser(prog="python -m pipeline.launch.driver")
    words.add_argument("request", type=Path)
    main(words.parse_args().request, is_attached=False)
