"""A folder for each point, in which `dvc repro` runs: the tree as it is now, with the point's parameters.

Folders and not the workspace, which a person edits meanwhile, and not DVC's own queue: its folders have
random names, so that a killed experiment never finds its checkpoints again, hold no data that git ignores,
and a killed worker of the queue leaves its experiment running for ever. The cache is the project's, so what
one point has made no other makes again.
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.base.files import locked, write_atomic
from pipeline.base.stage import STATE_FOLDER
from pipeline.errors import EspalierError
from pipeline.frontier.points import Project, SweepPoint
from pipeline.jobs.results import JOURNALS
from pipeline.jobs.tree import copy_tree
from pipeline.process.leftovers import is_held, keep_newest
from pipeline.repro import machine_lock
from pipeline.repro.site_cache import use_site_cache
from pipeline.tracking.local import tracking_uri
from pipeline.tracking.records import journal_lock, record_path

SWEEP_FOLDER = f"{STATE_FOLDER}/frontier"
COURIER_S = 300.0
"""How long the last stages may take to tell MLflow what is in their journals."""
NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True)
class PointWorkspace:
    """Where one point is made. log: what `dvc repro` says."""

    project: Project
    point: SweepPoint
    cache: Path

    @property
    def folder(self) -> Path:
        return (self.project.root / SWEEP_FOLDER / self.point.name).absolute()

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    @property
    def lock(self) -> Path:
        return self.folder.with_suffix(".lock")

    def prepare(self) -> None:
        """Bring the folder up to date; checkpoints of a run that was killed stay.

        Raises EspalierError if the tree is no longer the one that the sweep started with.
        """
        self.clear_outputs()
        self.folder.mkdir(parents=True, exist_ok=True)
        _share(self.project.root / machine_lock.LOCKS_FOLDER, self.folder / machine_lock.LOCKS_FOLDER)
        copy_tree(self.project.root, self.folder)
        for source in self.project.sources:
            _supply(self.project.root / source, self.folder / source)
        override(self.folder / "params.yaml", self.point.overrides)
        _configure(self.project.root / ".dvc/config.local", self.folder / ".dvc/config.local", self.cache)
        copied = Project(self.folder)
        if copied.point(self.point.overrides, copied.values).name != self.point.name:
            raise EspalierError("code, data or params.yaml changed while the sweep ran; run it again")

    def clear_outputs(self) -> None:
        """Leave only checkpoints in the folder, for the next attempt; the rest is in DVC's cache."""
        for path in self.folder.iterdir() if self.folder.exists() else []:
            if path.name != STATE_FOLDER:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def repro(self, targets: Sequence[str], lock: int) -> None:
        """Raises EspalierError, with the reason, if a stage failed."""
        use_site_cache()
        environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking_uri(self.project.root, self.folder)}
        with self.log.open("ab") as log:
            start = log.tell()
            # It holds our lock too: if this process is killed, the next sweep waits for what goes on
            # without it.
            done = subprocess.run(
                [sys.executable, "-m", "dvc", "repro", *targets],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                pass_fds=[lock],
            )
        if done.returncode:
            self.clear_outputs()
            raise EspalierError(
                reason(self.log.read_bytes()[start:].decode(errors="replace")) + f"; {self.log} has all of it"
            )

    def clear(self) -> None:
        """Move the journals to the project, for `espalier sync`, and remove what is left of the point."""
        for journal in sorted((self.folder / JOURNALS).glob("*.jsonl")):
            with locked(
                journal_lock(journal), wait_s=COURIER_S, what="the journal of a stage that has ended"
            ):
                for path in (journal, record_path(journal)):
                    write_atomic(self.project.root / JOURNALS / path.name, path.read_bytes())
        shutil.rmtree(self.folder, ignore_errors=True)
        self.log.unlink(missing_ok=True)


def clear_killed(root: Path, wanted: Collection[str]) -> None:
    """Remove folders that killed sweeps left of other points than the wanted; the newest stay."""
    folders = [path for path in (root / SWEEP_FOLDER).glob("*") if path.is_dir() and path.name not in wanted]
    keep_newest(path for path in folders if not is_held(path.with_suffix(".lock")))


def override(path: Path, overrides: Mapping[str, Any]) -> None:
    """Change values of a YAML file and nothing else: comments stay: `dvc exp apply` brings the file back."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1000
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar(NULL, "null")
    )
    values = yaml.load(path)
    for key, value in overrides.items():
        *parents, last = key.split(".")
        place = values
        for parent in parents:
            place = place[parent]
        place[last] = value
    yaml.dump(values, path)


def _share(folder: Path, link: Path) -> None:
    """One set of locks for all points, so that none is timed while another computes."""
    folder.mkdir(parents=True, exist_ok=True)
    link.parent.mkdir(exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(folder.absolute())


def _supply(source: Path, target: Path) -> None:
    """Link the files of a source that git ignores, such as raw data, to where the tree lacks them."""
    files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
    for file in files:
        place = target / file.relative_to(source)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file, place)
            except OSError:  # another file system
                shutil.copy2(file, place)


def _configure(source: Path, target: Path, cache: Path) -> None:
    """DVC's settings for the folder: the project's private ones, its cache, and no git."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(source)
    config.read_dict({"core": {"no_scm": "true"}, "cache": {"dir": str(cache.absolute())}})
    target.touch(0o600)
    with target.open("w", encoding="utf-8") as file:
        config.write(file)


def reason(log: str) -> str:
    """What the stage that failed said last, of all that `dvc repro` has printed; else what DVC says."""
    failed = re.findall(r"failed to reproduce '([^']+)'", log)
    lines = [line for line in log.splitlines() if line.startswith("ERROR:")]
    lines += [line for line in log.splitlines() if failed and line.startswith(f"espalier {failed[-1]}: ")]
    return lines[-1] if lines else "`dvc repro` failed"
