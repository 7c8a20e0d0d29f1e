"""The way of a job's results: its head leaves dvc.lock and journals in the storage, the client takes them.

What dvc.lock names, models and data, travels through the DVC remote.
"""

import shutil
from pathlib import Path

from pipeline.base.files import sha256_file, to_json, write_atomic
from pipeline.base.stage import STATE_FOLDER
from pipeline.errors import SubmitError
from pipeline.process.leftovers import scratch
from pipeline.registry.submission import JOBS, SUBMISSION_NAME, Submission, read_submission
from pipeline.repro.dag import LOCK
from pipeline.storage import Storage

JOURNALS = f"{STATE_FOLDER}/journals"


def leave_results(submission: Submission, root: Path) -> None:
    """Leave the results in the storage, on the head. Raises StorageError."""
    with scratch(root, "results") as temporary:
        folder = temporary / "tree"
        write_atomic(folder / SUBMISSION_NAME, to_json(submission.model_dump()))
        if (root / LOCK).exists():
            shutil.copy(root / LOCK, folder)
        if (root / JOURNALS).exists():
            shutil.copytree(root / JOURNALS, folder / "journals")
        place = Storage(submission.storage).below(JOBS)
        place.write(_note(submission.job), place.add_tree(folder).encode())


def fetch_results(job: str, storage: str, root: Path) -> bool:
    """Take over, on the client, what the job left. False if it has left nothing yet.

    Raises StorageError, and SubmitError if dvc.lock holds results that are neither the job's nor those it
    went on from.
    """
    place = Storage(storage).below(JOBS)
    digest = place.read(_note(job))
    if digest is None:
        return False
    with scratch(root, "results") as temporary:
        folder = place.fetch_tree(digest.decode(errors="replace"), temporary)
        if (folder / LOCK).exists():
            _check_lock(root, folder)
            write_atomic(root / LOCK, (folder / LOCK).read_bytes())
        for path in sorted(
            folder.glob("journals/*.json*")
        ):  # journals, and the records without which none is sent
            write_atomic(root / JOURNALS / path.name, path.read_bytes())
    return True


def lock_digest(root: Path) -> str:
    """SHA-256 of dvc.lock; empty without one."""
    return sha256_file(root / LOCK) if (root / LOCK).exists() else ""


def _check_lock(root: Path, folder: Path) -> None:
    """Whatever was reproduced here since would be reverted, in silence."""
    submission = read_submission(folder)
    assert submission is not None
    if lock_digest(root) not in {"", submission.lock, lock_digest(folder)}:
        raise SubmitError(
            f"dvc.lock has changed here since {submission.job} was submitted, so it is left as it is. To "
            "take the job's, whose outputs are in the DVC remote, move dvc.lock away and run `espalier "
            f"attach {submission.job}`"
        )


def forget_results(job: str, storage: str) -> None:
    """Remove results of an earlier job of this name, which a newly started cluster no longer knows."""
    Storage(storage).below(JOBS).remove(_note(job))


def _note(job: str) -> str:
    """Names what the job left; written last."""
    return f"{job}.txt"
