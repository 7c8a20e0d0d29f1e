"""A run whose workers share no disk with its driver: what goes there and back lies in `resources.storage`.

    inputs/<digest>/        prepared data and models, named by their content, kept for later runs
    runs/<stage>-<key>/     checkpoints, journal, live line, error and result of one run, removed on success;
                            whose it is, and what the machine that it is driven for writes every few
                            seconds while it lives (fence.py)

Each node copies the inputs once into its cache. Without a storage nothing travels: all paths are on a disk
that all workers see. This is the driver's side, which knows no torch; arrival.py is the workers'.
"""

import os
import secrets
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pipeline.base.files import atomic_dir, sha256_json, write_atomic
from pipeline.errors import DiskError, StorageError, TrainingError, redacted
from pipeline.storage import Storage
from pipeline.train.checkpoints.fence import ALIVE_NAME, FENCE_POLL_S, Fence
from pipeline.train.job import Job
from pipeline.train.transport.collect import result_folder

INPUTS = "inputs"
RUNS = "runs"
JOURNAL = "journal.jsonl"
PROGRESS = "progress.json"
ERROR = "error.txt"
RESULTS = "results"
"""Folder of finished models by their digest."""
RESULT = "result.txt"
"""File with the digest of this run's model."""
KEEP_UNTIL_PUSHED = "ESPALIER_KEEP_UNTIL_PUSHED"
"""Set if a disk may be lost with all that is on it, as a head's: finished runs stay until sent."""
FINISHED = Path(".espalier/finished")
SIGN_S = 5.0
"""Between two signs of life."""
SILENCE_S = 60.0
"""Time without a sign of life after which the driver's machine is gone; longer than an outage of 30 s."""


def send(job: Job, url: str) -> Job:
    """The job for workers elsewhere, once its inputs and the claim of this driver are in the storage at
    `url`.

    Raises StorageError, LockedError if another driver trains the same there.
    """
    Storage(url).check()
    inputs = Storage(url).below(INPUTS)
    digests = {name: inputs.add_tree(path) for name, path in job.inputs if path}
    owner = f"{driver_id(job)}-{secrets.token_hex(4)}"
    site = job.site.model_copy(update={"storage": url, "digests": digests, "owner": owner})
    sent = job.model_copy(update={"site": site})
    fence(sent).claim()
    for name in (ERROR, PROGRESS):  # of an attempt before this one
        run_storage(sent).remove(name)
    return sent


def run_storage(job: Job) -> Storage:
    """The folder of this run in its storage."""
    assert job.site.storage is not None
    return Storage(job.site.storage).below(RUNS).below(job.site.run_dir.name)


def driver_id(job: Job) -> str:
    """Digest of this machine and run directory, whose lock one driver at a time holds."""
    return sha256_json([socket.gethostname(), str(job.site.run_dir)])[:8]


def fence(job: Job) -> Fence:
    return Fence(run_storage(job), job.site.owner)


def user_error_path(job: Job) -> Path:
    """Where a worker, or the process that drives Ray, leaves a user's error; Ray would retry it."""
    return job.site.run_dir / ERROR


def report_user_error(job: Job, text: str) -> None:
    """Leave an error for this run's driver; another one that has taken over the run is not concerned."""
    if job.site.storage is None:
        write_atomic(user_error_path(job), text)
    elif fence(job).is_driven:
        run_storage(job).write(ERROR, text.encode())


def read_user_error(job: Job) -> str | None:
    """The user's error that ended this run, if one did."""
    if user_error_path(job).exists():
        return user_error_path(job).read_text(encoding="utf-8")
    left = run_storage(job).read(ERROR) if job.site.storage else None
    return left.decode() if left is not None else None


@contextmanager
def received(job: Job) -> Iterator[None]:
    """Copy what the workers send, while the block runs, to the job's journal and run directory."""
    if job.site.storage is None:
        yield
        return
    with repeated(partial(_fetch, job)):
        yield


def collect(job: Job) -> None:
    """Fetch, on the driver, after the workers are done, their journal and result.

    Raises StorageError, TrainingError.
    """
    if job.site.storage is None:
        return
    storage = run_storage(job)
    digest = storage.read(RESULT)
    if digest is None:
        raise TrainingError(
            f"{redacted(storage.url)} holds no finished run; run the stage again, it resumes from the last "
            "checkpoint"
        )
    folder = storage.below(RESULTS).fetch_tree(digest.decode(errors="replace"), job.site.run_dir / "fetched")
    with atomic_dir(result_folder(job)) as partial:
        shutil.copytree(folder, partial, dirs_exist_ok=True)
    write_atomic(job.site.journal, (folder / JOURNAL).read_bytes())


def finish(job: Job) -> None:
    """Remove the run from the storage, once the result is here, or note it for forget_finished."""
    if job.site.storage is None:
        return
    if os.environ.get(KEEP_UNTIL_PUSHED):
        write_atomic(FINISHED / f"{job.site.run_dir.name}.json", job.model_dump_json())
    else:
        _forget(job)


def forget_finished(root: Path, stage: str) -> None:
    """Remove the finished runs of a stage whose outputs have been sent on from the storage.

    Raises StorageError.
    """
    for note in (root / FINISHED).glob(f"{stage}-*.json"):
        _forget(Job.model_validate_json(note.read_text(encoding="utf-8")))
        note.unlink()


def _forget(job: Job) -> None:
    """Remove the run's folder from the storage, unless another driver has it."""
    if fence(job).is_driven:
        run_storage(job).remove("")


@contextmanager
def signs_of_life(job: Job, every_s: float = SIGN_S) -> Iterator[None]:
    """Show other drivers, while the block runs, that the machine that a run is driven for lives."""
    if job.site.storage is None:
        yield
        return
    with repeated(fence(job).sign, every_s):
        yield


def await_silence(job: Job, silence_s: float = SILENCE_S, every_s: float = SIGN_S) -> None:
    """Return, on the cluster, once there was no new sign of life for so long.

    A storage that cannot be read says nothing.
    """
    storage, last, since = run_storage(job), None, time.monotonic()
    while time.monotonic() - since < silence_s:
        time.sleep(every_s)
        try:
            sign = storage.read(ALIVE_NAME)
        except StorageError:
            since = time.monotonic()
            continue
        if sign != last:
            last, since = sign, time.monotonic()


def _fetch(job: Job) -> None:
    storage = run_storage(job)
    for name, path in ((JOURNAL, job.site.journal), (PROGRESS, job.site.run_dir / PROGRESS)):
        content = storage.read(name)
        if content and (not path.exists() or path.read_bytes() != content):
            write_atomic(path, content)


@contextmanager
def repeated(work: Callable[[], None], every_s: float = FENCE_POLL_S) -> Iterator[None]:
    """Do it regularly while the block runs, and once more: what failed comes with the next round."""
    stop = threading.Event()

    def run() -> None:
        stopped = False
        while not stopped:
            stopped = stop.wait(every_s)
            try:
                work()
            except (StorageError, DiskError) as error:
                sys.stderr.write(f"espalier: {error}; the training goes on\n")

    thread = threading.Thread(target=run, name="travel", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
