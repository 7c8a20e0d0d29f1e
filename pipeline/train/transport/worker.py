"""The workers' side of a run that shares no disk with its driver: see travel.py."""

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.base.files import locked
from pipeline.storage import OTHERS_WAIT_S, Storage, node_cache
from pipeline.train import ranks
from pipeline.train.checkpoints.local import LocalStore
from pipeline.train.checkpoints.remote import RemoteStore
from pipeline.train.job import Job
from pipeline.train.transport.collect import result_folder
from pipeline.train.transport.driver import (
    INPUTS,
    JOURNAL,
    PROGRESS,
    RESULT,
    RESULTS,
    RUNS,
    fence,
    repeated,
    run_storage,
)

UNUSED_S = 14 * 24 * 3600.0
"""Time after which a node removes inputs and run directories that nobody has come back to."""


def arrive(job: Job) -> Job:
    """The job, on a worker, with its inputs and its run directory on this node, and its own name.

    Raises StorageError.
    """
    if job.site.storage is None:
        return job
    cache, inputs = node_cache(), Storage(job.site.storage).below(INPUTS)
    _clear(cache)
    run_dir = cache / RUNS / job.site.run_dir.name
    owner = f"{job.site.owner} {secrets.token_hex(4)}"
    local: dict[str, Path] = {}
    for name, digest in job.site.digests.items():
        folder, path = inputs.fetch_tree(digest, cache / INPUTS), getattr(job.inputs, name)
        os.utime(folder)  # used now
        local[name] = folder / path.name if (folder / path.name).exists() else folder
    site = job.site.at(run_dir).model_copy(update={"owner": owner})
    return job.model_copy(update={"inputs": job.inputs.model_copy(update=local), "site": site})


def _clear(cache: Path) -> None:
    """Remove what was not used for long. What an old run still reads stays on disk until that run ends."""
    with locked(cache / "clear.lock", wait_s=OTHERS_WAIT_S, what="the clearing of this node's cache"):
        for folder in (*(cache / INPUTS).glob("*/"), *(cache / RUNS).glob("*/")):
            if time.time() - folder.stat().st_mtime > UNUSED_S:
                shutil.rmtree(folder)


class Outbox:
    """Rank 0's side: the journal and the live line as they grow, and at last the result."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._storage = run_storage(job)
        self._sent: dict[str, bytes] = {}

    def result(self) -> None:
        """Send the result and the whole journal, and then the word that they are there.

        Raises StorageError, LockedError.
        """
        shutil.copyfile(self._job.site.journal, result_folder(self._job) / JOURNAL)
        digest = self._storage.below(RESULTS).add_tree(result_folder(self._job))
        fence(self._job).check()
        self._storage.write(RESULT, digest.encode())

    def send(self) -> None:
        """What has changed since the last time, unless another writes now; the next checkpoint says so.

        Raises StorageError.
        """
        for name, path in ((JOURNAL, self._job.site.journal), (PROGRESS, self._job.site.run_dir / PROGRESS)):
            content = path.read_bytes() if path.exists() else b""
            if content and self._sent.get(name) != content and fence(self._job).is_writer:
                self._storage.write(name, content)
                self._sent[name] = content


class NoOutbox:
    """Outbox of a worker that has nothing to send."""

    def result(self) -> None: ...


@contextmanager
def outbox(job: Job) -> Iterator[Outbox | NoOutbox]:
    """Outbox of rank 0, which sends beside the training while the block runs, if there is a storage."""
    if job.site.storage is None or ranks.rank() != 0:
        yield NoOutbox()
        return
    (job.site.run_dir / PROGRESS).unlink(missing_ok=True)  # of an attempt that this node had before
    box = Outbox(job)
    with repeated(box.send):
        yield box


def open_store(job: Job) -> LocalStore | RemoteStore:
    """The run's checkpoints."""
    if job.site.storage is None:
        return LocalStore(job.site.run_dir / "checkpoints")
    return RemoteStore(run_storage(job).below("checkpoints"), job.site.journal, fence(job))
