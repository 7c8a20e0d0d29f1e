"""The way of a job's results: its head leaves dvc.lock and the journals in the storage, the client takes them over.

What dvc.lock names, models and data, travels through the DVC remote.
"""

import shutil
import tempfile
from pathlib import Path

from pipeline.files import write_atomic
from pipeline.stage import STATE_FOLDER
from pipeline.storage import Storage
from pipeline.submission import JOBS, Submission

JOURNALS = f"{STATE_FOLDER}/journals"
LOCK = "dvc.lock"


def leave_results(submission: Submission, root: Path) -> None:
    """On the head. Raises StorageError."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if (root / LOCK).exists():
            shutil.copy(root / LOCK, folder)
        if (root / JOURNALS).exists():
            shutil.copytree(root / JOURNALS, folder / "journals")
        place = Storage(submission.storage).below(JOBS)
        place.write(_note(submission.job), place.add_tree(folder).encode())


def fetch_results(job: str, storage: str, root: Path) -> bool:
    """On the client: take over what the job left. False where it has left nothing yet. Raises StorageError."""
    place = Storage(storage).below(JOBS)
    digest = place.read(_note(job))
    if digest is None:
        return False
    with tempfile.TemporaryDirectory() as name:
        folder = place.fetch_tree(digest.decode(errors="replace"), Path(name))
        if (folder / LOCK).exists():
            write_atomic(root / LOCK, (folder / LOCK).read_bytes())
        for path in sorted(folder.glob("journals/*.json*")):  # journals, and the records without which none is sent
            write_atomic(root / JOURNALS / path.name, path.read_bytes())
    return True


def forget_results(job: str, storage: str) -> None:
    """Of an earlier job of this name, which a cluster that was started anew no longer knows."""
    Storage(storage).below(JOBS).remove(_note(job))


def _note(job: str) -> str:
    """Names what the job left; written last."""
    return f"{job}.txt"
