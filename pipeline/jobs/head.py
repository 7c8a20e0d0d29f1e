"""What a submitted job runs on the cluster's head: `dvc repro` of the tree that was sent, and the way of its results back.

Inputs come through the DVC remote and outputs go there; dvc.lock and the journals go to the storage. Also after a failed
stage: what is complete is kept, and the next submission goes on from it.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from pipeline.errors import EspalierError, SubmitError
from pipeline.stage import STATE_FOLDER
from pipeline.storage import Storage
from pipeline.submission import JOBS, Submission, read_submission

JOURNALS = f"{STATE_FOLDER}/journals"
PYTHON = (3, 11)


def main() -> None:
    try:
        submission = read_submission(Path())
        if submission is None:
            raise SubmitError("this folder is no submitted tree; use `espalier submit`")
        sys.exit(run(submission))
    except EspalierError as error:
        sys.exit(f"espalier job: {error}")


def run(submission: Submission) -> int:
    """The exit status of `dvc repro`, or 1 where its outputs could not be kept. Raises SubmitError before anything runs."""
    check_node()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` runs when the job is stopped
    _dvc("config", "--local", "core.no_scm", "true")
    status, pushed = 1, 1
    try:
        status = _dvc("repro", "--pull", "--allow-missing", *submission.targets)
    finally:
        pushed = _dvc("push", "--quiet")
        leave_results(submission)
    if pushed:
        sys.stdout.write("espalier job: the outputs did not reach the DVC remote, see above; submit again to send them\n")
    return status or pushed


def check_node() -> None:
    """Raises SubmitError that says what the head lacks."""
    if sys.version_info < PYTHON:
        raise SubmitError(f"the head has Python {sys.version.split()[0]}; its nodes need {'.'.join(map(str, PYTHON))} or later")
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise SubmitError(
            "MLFLOW_TRACKING_URI is not set on the head, so the runs would be lost with the job; set it where `ray start` runs"
        )


def leave_results(submission: Submission) -> None:
    """Put dvc.lock and the journals into the storage, for the client to fetch."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if Path("dvc.lock").exists():
            shutil.copy("dvc.lock", folder)
        if Path(JOURNALS).exists():
            shutil.copytree(JOURNALS, folder / "journals")
        place = Storage(submission.storage).below(JOBS)
        place.write(f"{submission.job}.txt", place.add_tree(folder).encode())


def fetch_results(job: str, storage: str, root: Path) -> bool:
    """On the client: take over what the job left. False where it has left nothing yet."""
    place = Storage(storage).below(JOBS)
    digest = place.read(f"{job}.txt")
    if digest is None:
        return False
    with tempfile.TemporaryDirectory() as name:
        folder = place.fetch_tree(digest.decode(), Path(name))
        if (folder / "dvc.lock").exists():
            (folder / "dvc.lock").replace(root / "dvc.lock")
        for journal in sorted(folder.glob("journals/*.jsonl")):
            (root / JOURNALS).mkdir(parents=True, exist_ok=True)
            shutil.copy(journal, root / JOURNALS)
    return True


def _dvc(*words: str) -> int:
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-m", "dvc", *words], check=False).returncode


if __name__ == "__main__":
    main()
