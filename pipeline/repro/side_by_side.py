"""Runs the steps of a plan, several at a time, each in a process that does it as `dvc repro` does.

DVC holds the project's lock but for the time of a stage's command, notes in .dvc/tmp/rwlock what that reads
and writes, and takes the lock again to write dvc.lock. So commands overlap, and nothing else does. What is
upstream of a step must be left alone meanwhile: `dvc repro <target>` looks at it with a write lock, and fails
if a neighbour reads it.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from pipeline.errors import EspalierError, ParamsError
from pipeline.repro.dag import Step, plan, settle_lock
from pipeline.repro.mend import mending

STARTER = "ESPALIER_REPRO"
"""Variable that tells stages the pid of the process without which they must not go on."""
STAGES_POLL_S = 0.05
LAST_WORDS_S = 10.0
"""How long what stages leave behind, such as the courier of the last, may go on to print."""


Keep = Callable[[str], bool]
"""Called with each stage that is done, before those that need it start. False makes it count as failed."""


def repro(
    root: Path, targets: Sequence[str], jobs: int, *, pull: bool = False, keep: Keep = lambda _: True
) -> None:
    """Bring the targets up to date, all without one, with up to `jobs` stages at the same time.

    pull: fetch what is missing from the remote if a stage needs it, as `dvc repro --pull --allow-missing`.
    Raises ParamsError before anything runs, EspalierError if a stage failed: those beside it were let end.
    """
    check_jobs(jobs)
    try:
        mending(root, lambda: _repro(root, targets, jobs, keep, pull=pull))
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; what is complete is kept, and the same command goes on from there")


def _repro(root: Path, targets: Sequence[str], jobs: int, keep: Keep, *, pull: bool) -> None:
    steps = plan(root, targets, pull=pull)
    try:
        _Run(root, steps, jobs, keep, pull=pull).run()
    finally:
        settle_lock(root, steps)


def check_jobs(jobs: int) -> None:
    if jobs < 1:
        raise ParamsError("--jobs is a number of stages at a time; give 1 or more")


class _Run:
    def __init__(self, root: Path, steps: Sequence[Step], jobs: int, keep: Keep, *, pull: bool) -> None:
        self._root, self._jobs, self._keep = root, jobs, keep
        self._words = ["--pull"] if pull else []
        self._waiting = list(steps)
        self._running: dict[Step, subprocess.Popen[str]] = {}
        self._done: set[str] = set()
        self._started: set[str] = set()
        self._failed: list[str] = []
        self._relays: list[threading.Thread] = []
        self._width = max((len(step.name) for step in steps), default=0)

    def run(self) -> None:
        try:
            self._start_ready()
            while self._running:
                time.sleep(STAGES_POLL_S)
                self._collect()
                self._start_ready()
        except BaseException:  # Ctrl-C, or the end of a job
            self._interrupt()
            raise
        finally:
            self._hear_out()
        if self._failed:
            left = ", ".join(step.name for step in self._waiting)
            raise EspalierError(
                f"failed: {', '.join(self._failed)}, see above" + (f"; not run: {left}" if left else "")
            )

    def _start_ready(self) -> None:
        while step := self._next():
            self._waiting.remove(step)
            if self._must_run(step):
                self._start(step)
            else:
                self._say(step.name, "didn't change, skipping")
                self._done.add(step.name)

    def _next(self) -> Step | None:
        """What may start now. What is to run alone comes first, so that no long stage delays it."""
        if self._failed or len(self._running) >= self._jobs or any(step.alone for step in self._running):
            return None
        ready = [step for step in self._waiting if step.before <= self._done]
        alone = [step for step in ready if step.alone and self._must_run(step)]
        if alone and self._running:
            return None
        return next(iter(alone or ready), None)

    def _must_run(self, step: Step) -> bool:
        """Whether DVC has to look at it again: it has changed, or what it reads may have."""
        return step.changed or bool(step.before & self._started)

    def _start(self, step: Step) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.repro.one", *self._words, step.name],
            cwd=self._root,
            env={**os.environ, STARTER: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,  # Ctrl-C reaches it through this process, once
        )
        assert process.stdout is not None
        self._running[step] = process
        self._started.add(step.name)
        self._relays.append(
            threading.Thread(target=self._relay, args=(step.name, process.stdout), daemon=True)
        )
        self._relays[-1].start()

    def _collect(self) -> None:
        for step, process in list(self._running.items()):
            if process.poll() is not None:
                del self._running[step]
                is_done = process.returncode == 0 and self._keep(step.name)
                (self._done.add if is_done else self._failed.append)(step.name)

    def _interrupt(self) -> None:
        """Tell each stage and what runs it, as a terminal would, and wait until they have cleaned up."""
        for process in self._running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
        for process in self._running.values():
            process.wait()

    def _hear_out(self) -> None:
        deadline = time.monotonic() + LAST_WORDS_S
        for relay in self._relays:
            relay.join(max(0.0, deadline - time.monotonic()))

    def _relay(self, name: str, said: IO[str]) -> None:
        for line in said:
            if line.strip():
                self._say(name, line.rstrip())

    def _say(self, name: str, text: str) -> None:
        sys.stdout.write(f"{name:<{self._width}} | {text}\n")
        sys.stdout.flush()
