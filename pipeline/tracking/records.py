"""What must be known of a stage run to send its journal to MLflow later, even into an empty database.

Beside every journal `<stage>-<key>.jsonl` lies its record `<stage>-<key>.run.json`. It is a file of its
own, because a resumed run rewrites its journal.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from pipeline.base.files import to_json, write_atomic
from pipeline.base.records import Record
from pipeline.base.stage import PREPARED_DATA, STATE_FOLDER, Stage
from pipeline.base.yaml_file import read_yaml
from pipeline.errors import EspalierError

RECORD_SUFFIX = ".run.json"
UNLOGGED_SECTION = "resources"
"""The section that decides no result, so that a run's params must not hold it."""


class RunRecord(Record):
    """One stage run. Times are seconds since 1970; params are flattened, `train.epochs` -> "30".

    status: RUNNING for a run that was killed, or still runs.
    delivered: MLflow has all of the journal, so the next stage need not look at it again.
    """

    stage: str
    key: str
    pipeline_key: str | None
    params: dict[str, str]
    pipeline_params: dict[str, str]
    upstream: dict[str, str]
    started: float
    ended: float | None
    status: Literal["RUNNING", "FINISHED", "FAILED"]
    delivered: bool

    @property
    def run_key(self) -> str:
        return run_key(self.stage, self.key)


def run_key(stage: str, key: str) -> str:
    """The name by which MLflow finds a stage run again."""
    return f"{stage}-{key}"


def _reads(stage: Stage, name: str) -> bool:
    """Whether a stage declares this parameter, or a section or key that holds it."""
    return any(f"{name}.".startswith(f"{declared}.") for declared in stage.sections)


def new_record(stage: Stage, started: float) -> RunRecord:
    """The record of a stage that starts now.

    Its pipeline key is unknown while the prepared data are yet to be made.
    """
    values = deciding_params(stage.root)
    return RunRecord(
        stage=stage.name,
        key=stage.key,
        pipeline_key=None if PREPARED_DATA in stage.outs else pipeline_key(stage),
        params={name: value for name, value in values.items() if _reads(stage, name)},
        pipeline_params=values,
        upstream={},
        started=started,
        ended=None,
        status="RUNNING",
        delivered=False,
    )


def deciding_params(root: Path) -> dict[str, str]:
    """Every section of params.yaml that decides a result, flattened."""
    return flatten(
        {name: values for name, values in read_yaml(root / "params.yaml").items() if name != UNLOGGED_SECTION}
    )


def pipeline_key(stage: Stage) -> str | None:
    """The pipeline's key, or None before there are prepared data."""
    if not (stage.root / PREPARED_DATA / "manifest.json").exists():
        return None
    return stage.pipeline_key()


def record_path(journal: Path) -> Path:
    return journal.with_name(journal.name.removesuffix(".jsonl") + RECORD_SUFFIX)


def journal_path(record: Path) -> Path:
    return record.with_name(record.name.removesuffix(RECORD_SUFFIX) + ".jsonl")


def journal_lock(journal: Path) -> Path:
    """Who holds it delivers this journal, so that two cannot send the same point."""
    return journal.with_suffix(".lock")


def write_record(journal: Path, record: RunRecord) -> None:
    write_atomic(record_path(journal), to_json(record.model_dump()))


def read_record(journal: Path) -> RunRecord:
    """Raises EspalierError for a record that is not one."""
    path = record_path(journal)
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise EspalierError(
            f"{path}: not a record of a run ({error}); delete it together with {journal.name}"
        ) from error


def all_journals(root: Path) -> list[Path]:
    """Journals that have a record, the oldest run first."""
    records = (root / STATE_FOLDER / "journals").glob("*" + RECORD_SUFFIX)
    journals = [journal_path(path).absolute() for path in records]
    return sorted(journals, key=lambda journal: (read_record(journal).started, journal.name))


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"train": {"epochs": 3}} -> {"train.epochs": "3"}; lists and null as JSON, strings as they are.

    A mapping is JSON too if its keys are no names, such as patterns: MLflow takes few characters in a
    parameter's name.
    """
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value and all(key.isidentifier() for key in value):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, str) else json.dumps(value)
    return flat


def upstream(stage: Stage) -> dict[str, str]:
    """Run keys of every stage that this one's inputs come from, directly or not, by stage name.

    It reads the content of all their deps, so it belongs in a thread beside the stage's work.
    """
    stages = [Stage(name, stage.root) for name in stage_names(stage.root)]
    there = [
        other for other in ancestors(stage, stages) if all((stage.root / dep).exists() for dep in other.deps)
    ]
    return {
        other.name: run_key(other.name, other.key) for other in sorted(there, key=lambda other: other.name)
    }


def ancestors(stage: Stage, stages: Iterable[Stage]) -> list[Stage]:
    """Stages that this one's inputs come from, directly or not; none of the inputs is read."""
    others = [other for other in stages if other.name != stage.name]
    found: dict[str, Stage] = {}
    waiting = [stage]
    while waiting:
        current = waiting.pop()
        for other in others:
            if other.name not in found and _feeds(other, current):
                found[other.name] = other
                waiting.append(other)
    return list(found.values())


def stage_names(root: Path) -> list[str]:
    """Stages of dvc.yaml, in its order; a `foreach` gives one name per item."""
    names: list[str] = []
    for name, declared in read_yaml(root / "dvc.yaml")["stages"].items():
        names += [f"{name}@{item}" for item in declared["foreach"]] if "foreach" in declared else [name]
    return names


def _feeds(producer: Stage, consumer: Stage) -> bool:
    """Whether an out of one is, holds or lies in a dep of the other."""
    return any(
        Path(dep).is_relative_to(out) or Path(out).is_relative_to(dep)
        for out in producer.outs
        for dep in consumer.deps
    )


class Tail:
    """Reads what was appended to a journal, also by another process; starts over once it was rewritten.

    A rewrite (a run that resumes) puts another file in the old one's place, or a shorter one.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._inode = 0
        self._offset = 0

    def read(self) -> list[dict[str, Any]]:
        """The complete events since the last call, oldest first."""
        try:
            file = self._journal.open("rb")
        except FileNotFoundError:
            return []
        with file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._inode or status.st_size < self._offset:
                self._inode, self._offset = status.st_ino, 0
            file.seek(self._offset)
            complete, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(complete + newline)
        return [json.loads(line) for line in complete.splitlines()]
