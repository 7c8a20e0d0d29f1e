"""What travels with a submitted tree: which stages to run, from which commit, and where the results go."""

from pathlib import Path

from pipeline.base.records import Record

SUBMISSION_NAME = "espalier-job.json"
"""File at the top of the tree that is sent; its presence says that there is no git."""
JOBS = "jobs"
"""Folder of the storage, below which each job leaves its results."""


class Submission(Record):
    job: str
    """Name as `espalier attach` takes it."""
    targets: list[str]
    """Stages, as for `dvc repro`; none means all."""
    jobs: int
    """Stages at a time."""
    storage: str
    lock: str
    """SHA-256 of the dvc.lock that the job goes on from; empty without one."""
    git_commit: str
    git_dirty: bool


def read_submission(root: Path) -> Submission | None:
    """None if the folder is no submitted tree."""
    path = root / SUBMISSION_NAME
    return Submission.model_validate_json(path.read_bytes()) if path.exists() else None
