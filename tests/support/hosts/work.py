"""The project on a user's machine: a git repository with a DVC remote and a storage, and the same run on one
host.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.hosts.hosts import Host, Process
from tests.support.hosts.services import BUCKET
from tests.support.project import Done, fresh_project

PROJECT = "/tmp/project"
STORAGE = f"s3://{BUCKET}/work"
AUTHOR = {"GIT_AUTHOR_NAME": "user", "GIT_AUTHOR_EMAIL": "user@localhost"} | {
    "GIT_COMMITTER_NAME": "user",
    "GIT_COMMITTER_EMAIL": "user@localhost",
}
REPRO_TIMEOUT_S = 900.0


class Work:
    """A clone of the project on a host, with a small problem in params.yaml."""

    def __init__(
        self,
        host: Host,
        folder: Path,
        jobs_url: str,
        *,
        workers: int,
        changes: dict[str, Any] | None = None,
        **resources: Any,
    ) -> None:
        self.host = host
        self.jobs_url = jobs_url
        self.shown = ""
        with fresh_project(folder) as project:
            project.change_params({"resources": {"workers": workers, "threads_per_worker": 1, **resources}})
            project.change_params(changes or {})
        shutil.rmtree(host.path(PROJECT), ignore_errors=True)  # of another test on this host
        host.bring(folder, PROJECT)
        self.run("dvc", "remote", "add", "-q", "--default", "store", f"s3://{BUCKET}/dvc")
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", "parameters and remote")

    def run(self, *words: str, check: bool = True, **environment: str) -> Done:
        return self.host.run(
            words, {**AUTHOR, **environment}, cwd=PROJECT, timeout_s=REPRO_TIMEOUT_S, check=check
        )

    def espalier(self, *words: str, check: bool = True, **environment: str) -> Done:
        return self.run("python", "-m", "pipeline.cli", *words, check=check, **environment)

    def submit(self, *targets: str, environment: Mapping[str, str] | None = None) -> Process:
        """Start a submission, and leave it running."""
        words = ["python", "-m", "pipeline.cli", "submit", "--address", self.jobs_url, *targets]
        return self.host.start(words, {**AUTHOR, **(environment or {})}, cwd=PROJECT)

    def path(self, name: str) -> Path:
        return self.host.path(PROJECT) / name

    def dense(self) -> dict[str, Any]:
        """model.json of the trained model: digest of its weights, ancestors, and where it was trained."""
        spec: dict[str, Any] = json.loads(self.path("artifacts/dense/model.json").read_text())
        return spec

    def locked(self) -> dict[str, Any]:
        """dvc.lock's outs by path, without measured times."""
        stages = yaml.safe_load(self.path("dvc.lock").read_text())["stages"]
        outs = (out for stage in stages.values() for out in stage.get("outs", []))
        return {
            out["path"]: out["md5"]
            for out in outs
            if not out["path"].endswith(("latency.json", "verdict.json"))
        }
