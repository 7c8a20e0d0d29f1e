"""Where results go: a reporter takes metrics and artifacts; the journal keeps them on the local disk.

The journal is one JSON event per line. It is written first and delivered later (tracking.py), so a
dead tracking server never stops a stage, and a lost tracking database can be filled again.
"""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from pipeline.base.files import may_write, sha256_tree, write_atomic


class Reporter(Protocol):
    """Takes what a stage has to tell. Keys follow `split/metric`, for example `val/score`."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Report values at an optimizer step, or the stage's final values without a step."""

    def artifact(self, path: Path) -> None:
        """Report a file or folder that a person may want to look at (it must stay where it is)."""

    def rewind(self, step: int) -> None:
        """Forget what was reported after `step`, because the run resumes from there."""


class NullReporter:
    """Reports nowhere."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None: ...

    def artifact(self, path: Path) -> None: ...

    def rewind(self, step: int) -> None: ...


class Journal:
    """A reporter that appends events to a file.

    Events: {"kind": "metrics", "step": int | None, "values": {...}, "time": s since 1970} and
    {"kind": "artifact", "path": str, "sha256": ..., "time": ...}: by its digest a later delivery knows
    whether the path still holds what this run reported. Steps rise; the same step is never there twice.
    A line cut off by a kill is dropped when the journal is opened again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with may_write(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            self._rewrite(list(read_journal(path)))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        wrong = [key for key, value in values.items() if not math.isfinite(value)]
        assert not wrong, f"metrics that are not finite: {wrong}"
        self._append({"kind": "metrics", "step": step, "values": dict(values), "time": time.time()})

    def artifact(self, path: Path) -> None:
        self._append(
            {"kind": "artifact", "path": str(path), "sha256": sha256_tree(path), "time": time.time()}
        )

    def rewind(self, step: int) -> None:
        if self.path.exists():
            self._rewrite(
                [
                    event
                    for event in read_journal(self.path)
                    if event.get("step") is not None and event["step"] <= step
                ]
            )

    def _append(self, event: dict[str, Any]) -> None:
        # One write call per line: a kill leaves at most one incomplete last line.
        with may_write(self.path):
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(handle, (json.dumps(event) + "\n").encode())
            finally:
                os.close(handle)

    def _rewrite(self, events: list[dict[str, Any]]) -> None:
        write_atomic(self.path, "".join(json.dumps(event) + "\n" for event in events))


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The complete events of a journal, oldest first; an incomplete last line is left out."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)
