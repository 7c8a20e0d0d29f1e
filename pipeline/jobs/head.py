"""What a submitted job does on the cluster's head: `dvc repro` of the tree that was sent, and the way of its results back.

Inputs come through the DVC remote and outputs go there; dvc.lock and the journals go to the storage. Also after a failed
or stopped stage: what is complete is kept, and the next submission goes on from it.
"""

import signal
import subprocess
import sys
from pathlib import Path

from pipeline.errors import EspalierError, SubmitError
from pipeline.jobs.results import leave_results
from pipeline.repro.side_by_side import repro
from pipeline.submission import Submission, read_submission


def run(root: Path) -> int:
    """The exit status of `dvc repro`, or 1 where its outputs could not be kept.

    Raises SubmitError where the folder holds no submitted tree, StorageError where the results cannot be left.
    """
    submission = read_submission(root)
    if submission is None:
        raise SubmitError("this folder is no submitted tree; use `espalier submit`")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` runs when the job is stopped
    _dvc(root, "config", "--local", "core.no_scm", "true")
    status, pushed = 1, 1
    try:
        status = _repro(root, submission)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut off what saves the outputs
        pushed = _dvc(root, "push", "--quiet")
        leave_results(submission, root)
    if pushed:
        sys.stdout.write("espalier job: the outputs did not reach the DVC remote, see above; submit again to send them\n")
    return status or pushed


def _repro(root: Path, submission: Submission) -> int:
    if submission.jobs == 1:
        return _dvc(root, "repro", "--pull", "--allow-missing", *submission.targets)
    try:
        repro(root, submission.targets, submission.jobs, pull=True)
    except EspalierError as error:
        sys.stdout.write(f"espalier job: {error}\n")
        return 1
    return 0


def _dvc(root: Path, *words: str) -> int:
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root, check=False).returncode
