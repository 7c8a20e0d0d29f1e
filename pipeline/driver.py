"""The stage's side of training: a child process drives Ray, and is started again where it dies.

Ray ends the process that drives it when its head is gone, without an exception, and has errors of its own for a dead
controller. All that lives through it are our checkpoints, from which the next attempt goes on.
"""

import os
import signal
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from pipeline.cluster import drive
from pipeline.errors import EspalierError, TrainingError
from pipeline.files import write_atomic
from pipeline.resources import Resources
from pipeline.train.collect import result_folder
from pipeline.train.job import Job
from pipeline.train.progress import shown
from pipeline.train.travel import collect, fault_path, forget, read_fault, received, send

OUR_FAULT = 70
"""Exit status for an error in this program (EX_SOFTWARE of sysexits.h), which another attempt would meet again."""


class Order(BaseModel):
    """What the child is told, as JSON in the run directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: Job
    resources: Resources


def launch(job: Job, resources: Resources, name: str) -> None:
    """Run `fit(job)` on the workers that `resources` say and show the live line until it is done.

    Raises TrainingError where workers cannot be placed or keep failing, where the cluster does not answer, and
    with the message of whatever EspalierError a worker met.
    """
    if result_folder(job).exists():
        return  # of a run before this one, which ended before the stage took it over
    fault_path(job).unlink(missing_ok=True)
    if resources.storage:
        job = send(job, resources.storage)
    order = job.run_dir / "order.json"
    write_atomic(order, Order(job=job, resources=resources).model_dump_json())
    with shown(job.run_dir, name), received(job):
        for attempt in range(resources.max_failures + 1):
            status = _attempt([sys.executable, "-m", "pipeline.driver", str(order)])
            if fault := read_fault(job):
                raise TrainingError(fault)
            if status == 0:
                collect(job)
                forget(job)
                return
            if status == OUR_FAULT:
                raise EspalierError("an error in this program ended the training, see above; complete checkpoints are kept")
            left = resources.max_failures - attempt
            sys.stderr.write(f"espalier {name}: {_death(status)}; {left} more attempts from the last checkpoint\n")
    raise TrainingError(
        f"the process that drives Ray died {resources.max_failures + 1} times; show_ray_logs may tell why. "
        "Checkpoints are kept: run the stage again to go on from the last one"
    )


def _attempt(words: list[str]) -> int:
    """Its exit status. The pipe to its stdin closes when this process ends, however it ends, and ends it too."""
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        try:
            return process.wait()
        except BaseException:
            process.kill()
            raise


def _death(status: int) -> str:
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"the process that drives Ray died ({how}), or Ray's head or controller did"


def main(order: Path) -> None:
    """The child: drive one attempt. Exit status 0 when it is done or has met a user's error, OUR_FAULT for an error of ours.

    Any other end is a death, of Ray's controller or of its head, that another attempt survives.
    """
    threading.Thread(target=_end_with_parent, daemon=True, name="end-with-parent").start()
    told = Order.model_validate_json(order.read_bytes())
    status = 0
    try:
        drive(told.job, told.resources)
    except Exception as error:  # each of Ray's errors, whatever it derives from, must end in a status
        status = 1 if type(error).__module__.startswith("ray.") else OUR_FAULT
        if status == OUR_FAULT or told.resources.show_ray_logs:
            traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _end_with_parent() -> None:
    """Wait until stdin closes, which is when the stage is gone, and end this process and all that it started."""
    sys.stdin.buffer.read()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
