"""A project so small that DVC runs it in a second, as a user has it, and a cluster that runs nothing."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.job_server import JobState
from pipeline.jobs.verbs import TREE_ENTRYPOINT
from pipeline.registry.submission import SUBMISSION_NAME, Submission, read_submission
from tests.support.places import ROOT

DVC_YAML = """
stages:
  first:
    cmd: python -c "open('one', 'w').write('1')"
    deps: [code.py]
    outs: [one]
  second:
    cmd: >-
      python -c "import pathlib; assert not pathlib.Path('broken').exists();
      pathlib.Path('two').write_text('2')"
    deps: [one]
    outs: [two]
  each:
    foreach: [a, b]
    do:
      cmd: echo ${item}
      deps: [code.py]
"""
PYPROJECT = '[project]\nname = "tiny"\nversion = "0"\ndependencies = ["dvc>=3", "pydantic"]\n'
IGNORED = ".env\n/one\n/two\n/data/\n.espalier/\n__pycache__/\n"


def run(root: Path, *words: str) -> str:
    """Raises CalledProcessError."""
    return subprocess.run(
        words, cwd=root, env=environment(), check=True, capture_output=True, text=True
    ).stdout


def environment() -> dict[str, str]:
    """Of a command in a project: this interpreter's tools, and nobody's settings of git."""
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return {**os.environ, **quiet, "PATH": tools, "PYTHONPATH": str(ROOT)}


def repository(root: Path) -> Path:
    """A git repository with one commit of these files."""
    root.mkdir(parents=True)
    (root / "code.py").write_text("x = 1\n")
    (root / ".gitignore").write_text(IGNORED)
    run(root, "git", "init", "-q")
    commit(root)
    return root


def commit(root: Path) -> None:
    run(root, "git", "add", "-A")
    run(
        root,
        "git",
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@localhost",
        "commit",
        "-q",
        "-m",
        "x",
        "--allow-empty",
    )


def project(root: Path, storage: Path, remote: Path) -> Path:
    """A committed DVC project with the parameters of the preset `digits`, a storage and a remote, which are
    folders.
    """
    repository(root)
    storage.mkdir()
    remote.mkdir()
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "pyproject.toml").write_text(PYPROJECT)
    shutil.copy(ROOT / "presets" / "digits.yaml", root / "params.yaml")
    set_storage(root, str(storage))
    (root / ".dvc").mkdir()
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / ".dvc" / "config").write_text(
        f"[core]\n    remote = store\n['remote \"store\"']\n    url = {remote}\n"
    )
    commit(root)
    return root


def set_storage(root: Path, storage: str) -> None:
    params = root / "params.yaml"
    lines = [
        f"  storage: {storage}" if line.startswith("  storage:") else line
        for line in params.read_text().splitlines()
    ]
    params.write_text("\n".join(lines) + "\n")


@dataclass
class Cluster:
    """A job server that notes what it is sent; a job runs until a test says otherwise."""

    folder: Path
    address: str = "http://nowhere:8265"
    states: dict[str, JobState] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)

    def submit(self, tree: Path, job: str, entrypoint: str, metadata: dict[str, str]) -> None:
        assert entrypoint == TREE_ENTRYPOINT
        assert (tree / SUBMISSION_NAME).exists()
        shutil.copytree(tree, self.folder / job)
        self.states[job], self.metadata[job] = JobState("RUNNING", ""), metadata

    def jobs(self) -> dict[str, JobState]:
        return dict(self.states)

    def stop(self, job: str) -> None:
        self.states[job] = JobState("STOPPED", "")

    def logs(self, job: str) -> str:
        return f"log of {job}"

    def follow(self, job: str) -> JobState:
        """Run the head's program in the tree, as a node would."""
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.jobs.start"],
            cwd=self.folder / job,
            env=environment() | {"MLFLOW_TRACKING_URI": "http://nowhere"},
            check=False,
            capture_output=True,
            text=True,
        )
        why = (
            f"Job entrypoint command failed with exit code {done.returncode}, last available logs "
            f"(truncated):\n{done.stdout}"
        )
        self.states[job] = JobState("FAILED", why) if done.returncode else JobState("SUCCEEDED", "")
        return self.states[job]

    def order(self, job: str) -> Submission:
        order = read_submission(self.folder / job)
        assert order is not None
        return order
