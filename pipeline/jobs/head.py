"""A submitted job on the cluster's head: the repro of the tree that was sent, and its results' way back.

Inputs come through the DVC remote. Each stage's outputs go there as soon as it is done, so that a head which
is lost later takes nothing finished along; dvc.lock and the journals go to the storage at the end, also after
a failed or stopped stage. What is in dvc.lock is in the remote, at the start and at the end: the next
submission goes on from it.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.base.files import write_atomic
from pipeline.errors import EspalierError, SubmitError
from pipeline.jobs.remote import check_remote, lacking, send_outputs
from pipeline.jobs.results import leave_results
from pipeline.registry.submission import Submission, read_submission
from pipeline.repro.dag import entries, forget
from pipeline.repro.side_by_side import repro
from pipeline.train.transport.driver import KEEP_UNTIL_PUSHED, forget_finished

NO_GIT = "[core]\n    no_scm = true\n"
"""Configuration of DVC for a tree that was sent, which has none of its own beside it."""
WAITS_S = (5.0, 15.0, 40.0, 60.0)
"""Pauses before each further attempt to send outputs, for two minutes of a remote that answers 503."""


def run_tree(root: Path, waits_s: Sequence[float] = WAITS_S) -> int:
    """Run it; returns 0, or 1 if a stage failed or its outputs could not be kept.

    Raises SubmitError if the folder holds no submitted tree or the remote takes no file, before anything
    runs, and StorageError if the results cannot be left.
    """
    submission = read_submission(root)
    if submission is None:
        raise SubmitError("this folder is no submitted tree; use `espalier submit`")
    signal.signal(signal.SIGTERM, _stop)
    os.environ[KEEP_UNTIL_PUSHED] = "1"
    write_atomic(root / ".dvc" / "config.local", NO_GIT)
    check_remote(root)
    if gone := lacking(root):
        forget(root, gone)
        _say(f"the DVC remote lacks outputs of {', '.join(gone)}, which are made again where they are needed")
    keeper = _Keeper(root, waits_s)
    try:
        status = _repro(root, submission, keeper)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing must cut off what saves the outputs
        lost = keeper.finish()
        leave_results(submission, root)
    return status or int(bool(lost))


def _stop(*_: object) -> None:
    """End so that `finally` runs when the job is stopped; a second SIGTERM must not cut that off."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def _repro(root: Path, submission: Submission, keeper: "_Keeper") -> int:
    try:
        repro(root, submission.targets, submission.jobs, pull=True, keep=keeper.keep)
    except EspalierError as error:
        _say(str(error))
        return 1
    return 0


class _Keeper:
    """Sends the outputs of each stage that is done, and knows those that dvc.lock may name, being sent."""

    def __init__(self, root: Path, waits_s: Sequence[float]) -> None:
        self._root, self._waits_s = root, waits_s
        self._before = entries(root)
        self._kept: set[str] = set()

    def keep(self, stage: str) -> bool:
        """Whether its outputs are in the remote now."""
        for wait_s in (*self._waits_s, None):
            try:
                send_outputs(self._root, stage)
            except EspalierError as error:
                _say(
                    f"{error}"
                    + (f"; sending the outputs of {stage} again in {wait_s:.0f} s" if wait_s else "")
                )
                time.sleep(wait_s or 0.0)
            else:
                self._kept.add(stage)
                self._forget_runs(stage)
                return True
        return False

    def _forget_runs(self, stage: str) -> None:
        try:
            forget_finished(self._root, stage)
        except EspalierError as error:
            _say(f"{error}; a finished run of {stage} stays there, which may be removed")

    def finish(self) -> list[str]:
        """Take stages out of dvc.lock whose outputs cannot be sent, after a last attempt. Returns them."""
        new = [name for name, entry in entries(self._root).items() if self._before.get(name) != entry]
        lost = [name for name in new if name not in self._kept and not self.keep(name)]
        if lost:
            forget(self._root, lost)
            _say(
                f"lost with this job: the outputs of {', '.join(lost)}. Mend the DVC remote; submitting "
                "again makes them anew"
            )
        return lost


def _say(text: str) -> None:
    sys.stdout.write(f"espalier job: {text}\n")
    sys.stdout.flush()
