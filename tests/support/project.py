"""A copy of the project in a folder of its own, whose commands run for real and end with the test."""

import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from pipeline.base.files import sha256_file
from pipeline.check.check import CHECKED_FOLDER as CHECKED
from tests.support.places import ROOT

MADE = ("artifacts", "exported", "reports", ".espalier", ".dvc/cache", ".dvc/tmp")
"""What a repro leaves, beside data/prepared and dvc.lock."""
DATABASE = ".espalier/mlflow/mlflow.db"
OUTER = ("DVC_", "RAY_", "MLFLOW_", "GIT_", "PYTHON")
"""Variables of the surrounding shell that would decide what is tested here."""
COMMAND_TIMEOUT_S = 1200.0
POLL_S = 0.05

TINY: dict[str, Any] = {
    "model": {"width": 8},
    "train": {"epochs": 24},
    "finetune": {"epochs": 6},
    "quantize": {"calibration_images": 64, "max_drop": 1.0},
    "evaluate": {"parity_images": 64, "latency": {"warmup": 1, "repeats": 5, "threads": 1}},
    "register": {
        "min_score": 0.3,
        "max_drop": 1.0,
        "max_group_drop": 1.0,
        "min_agreement_with_dense": 0.0,
        "min_speedup": 0.001,
        "min_parent_speedup": 0.001,
        "min_export_agreement": 0.5,
    },
    "resources": {"workers": 2, "threads_per_worker": 1},
}
"""Changes of the preset `digits`: seconds instead of a minute, and gates that any model passes."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    def expect_success(self) -> "Done":
        assert self.status == 0, f"status {self.status}\n{self.out}\n{self.err}"
        return self


@dataclass
class Command:
    """A command that may be running.

    Its output goes to files: a pipe would stay open in what it leaves behind.
    """

    process: "subprocess.Popen[bytes]"
    log: Path

    def wait(self, timeout_s: float = COMMAND_TIMEOUT_S) -> Done:
        return Done(self.process.wait(timeout_s), self.said("out"), self.said("err"))

    def said(self, name: str) -> str:
        """What it has said so far on `out` or `err`."""
        return (self.log / name).read_text(errors="replace")


@dataclass
class Project:
    """root: the copy. scratch: a short path for temporary files, because Ray makes sockets there (107 bytes
    at most).

    umask: of its commands.
    """

    root: Path
    scratch: Path
    umask: int = 0o022
    environment: dict[str, str] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)

    def start(self, *words: str, **environment: str) -> Command:
        log = Path(tempfile.mkdtemp(dir=self.scratch, prefix="log-"))
        with (log / "out").open("wb") as out, (log / "err").open("wb") as err:
            process = subprocess.Popen(
                words,
                cwd=self.root,
                env={**self._environment(), **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                umask=self.umask,
            )
        self.commands.append(Command(process, log))
        return self.commands[-1]

    def run(self, *words: str, **environment: str) -> Done:
        return self.start(*words, **environment).wait()

    def processes(self) -> list[psutil.Process]:
        """What lives of all that was started here: it inherited the folder for temporary files, whoever its
        parent is.
        """
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.environ().get("TMPDIR") == str(self.scratch)
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def end(self) -> None:
        """Kill whatever still runs, and remove the temporary files."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for command in self.commands:
            command.process.wait()
        until(lambda: not self.processes(), "the processes end after SIGKILL", 10.0)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def read_params(self) -> dict[str, Any]:
        values: dict[str, Any] = yaml.safe_load((self.root / "params.yaml").read_text())
        return values

    def change_params(self, changes: dict[str, Any]) -> None:
        self.write_params(merged(self.read_params(), changes))

    def write_params(self, values: dict[str, Any]) -> None:
        (self.root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))

    def digests(self, *folders: str) -> dict[str, str]:
        """SHA-256 of every file below some folders, by path."""
        files = sorted(
            path for folder in folders for path in (self.root / folder).rglob("*") if path.is_file()
        )
        return {path.relative_to(self.root).as_posix(): sha256_file(path) for path in files}

    def lock(self) -> dict[str, Any]:
        stages: dict[str, Any] = yaml.safe_load((self.root / "dvc.lock").read_text())["stages"]
        return stages

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OUTER)}
        tools = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
        return {
            **kept,
            "PATH": tools,
            "TMPDIR": str(self.scratch),
            # stages of several projects run at once: more threads wait for each other
            "OMP_NUM_THREADS": "1",
            "DVC_SITE_CACHE_DIR": str(self.scratch / "dvc"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
        }


@contextmanager
def fresh_project(root: Path) -> Iterator[Project]:
    """The repository's tracked and new files with tiny parameters, in a git repository of its own."""
    listed = _git(
        ROOT, "ls-files", "-co", "--exclude-standard", "-z", "--", ":!tests", ":!docs", ":!dvc.lock"
    ).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    with opened_project(root) as project:
        preset = yaml.safe_load((ROOT / "presets/digits.yaml").read_text())
        project.write_params(merged(preset, TINY))
        _git(root, "init", "-q")
        _git(root, "add", "-A")
        _git(root, "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "copy")
        yield project


@contextmanager
def copied_project(source: Project, root: Path, *, leave_out: Iterable[str] = ()) -> Iterator[Project]:
    """A copy of a project as it is now, without some of its folders. Its tracking database is empty."""
    shutil.copytree(source.root, root, dirs_exist_ok=True, symlinks=True)
    for name in (*leave_out, ".espalier"):
        shutil.rmtree(root / name, ignore_errors=True)
    if (source.root / CHECKED).exists():  # what was tried there need not be tried again
        shutil.copytree(source.root / CHECKED, root / CHECKED)
    empty_database(source.root / DATABASE, root / DATABASE)
    with opened_project(root) as project:
        yield project


@contextmanager
def opened_project(root: Path) -> Iterator[Project]:
    """A project that is there; its processes and temporary files end with the context."""
    project = Project(root, Path(tempfile.mkdtemp(prefix="e-")))
    (project.scratch / "dvc").mkdir(0o700)
    try:
        yield project
    finally:
        project.end()


def sessions(leaders: set[int]) -> list[psutil.Process]:
    """Living processes of the sessions that these processes opened; zombies have ended."""
    members = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in leaders and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return members


def named(project: Project, words: str) -> psutil.Process | None:
    """The newest process of the project with these words in its command line."""
    found = []
    for process in project.processes():
        with suppress(psutil.NoSuchProcess):
            if words in " ".join(process.cmdline()):
                found.append((process.create_time(), process))
    return max(found, key=lambda pair: pair[0])[1] if found else None


def training_workers(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those of these processes that are workers of Ray Train.

    A process may end between any two looks at it.
    """
    workers = []
    for process in processes:
        try:
            if "RayTrainWorker" in " ".join(process.cmdline()):
                workers.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return workers


def until(condition: Callable[[], Any], what: str, timeout_s: float, command: Command | None = None) -> None:
    """Wait for a condition, which a running command brings about if one is given.

    Raises AssertionError with `what` was waited for and what the command said, at once if it ends before.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        has_ended = command is not None and command.process.poll() is not None
        if condition():
            return
        said = f"\n{command.said('out')}\n{command.said('err')}" if command else ""
        assert not has_ended, f"the command ended before {what}{said}"
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s in vain until {what}{said}"
        time.sleep(POLL_S)


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`values` with nested `changes`, for example {"train": {"epochs": 1}}."""
    result = dict(values)
    for name, change in changes.items():
        nested = isinstance(change, dict) and isinstance(result.get(name), dict)
        result[name] = merged(result[name], change) if nested else change
    return result


def running_stages(text: str) -> list[str]:
    """Names from the lines `Running stage 'x':` of `dvc repro`, before which `espalier repro` and a job write
    `x | `.
    """
    return re.findall(r"^(?:\S+ +\| )?Running stage '([^']+)'", text, re.MULTILINE)


def open_to_others(folder: Path, bits: int) -> set[Path]:
    """What another user reaches below a folder that has one of these bits of a mode, for example 0o022:
    others may write.
    """
    found = set()
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # it may go while this looks
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                continue
            found |= {path} if mode & bits else set()
            if stat.S_ISDIR(mode) and mode & (stat.S_IXGRP | stat.S_IXOTH):
                found |= open_to_others(path, bits)
    return found


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def empty_database(source: Path, target: Path) -> None:
    """MLflow's tables without a row: to make them takes seconds, and a full one names the folder of its
    artifacts.
    """
    target.parent.mkdir(parents=True)
    shutil.copy(source, target)
    with closing(sqlite3.connect(target)) as database, database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if table != "alembic_version":  # of the tables
                database.execute(f"DELETE FROM {table}")


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout
