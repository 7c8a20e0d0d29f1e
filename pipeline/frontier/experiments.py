"""DVC experiments of this project's commit: which there are, their figures, and how a folder becomes one.

An experiment is a commit below `refs/exps/<commit>/`. It is made by git's own parts and not by `dvc exp
save`, which stashes the workspace for seconds in which a kill loses it, and commits a pickle of its
arguments.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import EspalierError
from pipeline.frontier.points import PREFIX
from pipeline.git import git
from pipeline.process.leftovers import scratch
from pipeline.repro.site_cache import use_site_cache

AUTHOR = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "espalier"), ("EMAIL", "espalier@localhost"))
}


@dataclass(frozen=True)
class Experiment:
    """params: all of params.yaml. metrics: what the stages' metrics files hold, by path."""

    name: str
    params: dict[str, Any]
    metrics: dict[str, dict[str, Any]]


def head(root: Path) -> str:
    """The commit on which experiments made now are based. Raises EspalierError if there is none."""
    try:
        return git(root, "rev-parse", "--verify", "--quiet", "HEAD").strip()
    except EspalierError as error:
        raise EspalierError(
            f"{root.absolute()} has no commit, on which experiments are based; `git init` if needed, and "
            "commit your work"
        ) from error


def names(root: Path, commit: str) -> set[str]:
    """Names of the sweeps' experiments on this commit."""
    listed = git(root, "for-each-ref", "--format=%(refname:lstrip=4)", f"{_place(commit)}/{PREFIX}*")
    return set(listed.split())


def save(root: Path, folder: Path, commit: str, name: str, message: str) -> None:
    """Make what lies in a folder, as far as git does not ignore it, the experiment `name` on `commit`."""
    with scratch(root, "experiment") as temporary:
        # An index of its own: nothing is staged in the user's, and nothing of theirs is touched.
        store = git(root, "rev-parse", "--absolute-git-dir").strip()
        paths = {
            "GIT_DIR": store,
            "GIT_WORK_TREE": str(folder.absolute()),
            "GIT_INDEX_FILE": f"{temporary}/index",
        }
        git(folder, "read-tree", commit, **paths)
        git(folder, "add", "--all", **paths)
        tree = git(folder, "write-tree", **paths).strip()
        made = git(root, "commit-tree", tree, "-p", commit, "-m", message, **AUTHOR).strip()
        git(root, "update-ref", f"{_place(commit)}/{name}", made)


def read_experiments(root: Path) -> list[Experiment]:
    """The sweeps' experiments on this commit, with what they measured.

    Raises EspalierError if DVC cannot tell.
    """
    use_site_cache()
    words = [sys.executable, "-m", "dvc", "exp", "show", "--json", "--hide-queued", "--hide-failed"]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or "no message").splitlines()[0]
        raise EspalierError(
            f"`dvc exp show` fails ({said}); run this in the project's folder, `dvc doctor` may tell more"
        )
    listed = [each for commit in json.loads(done.stdout) for each in commit["experiments"] or []]
    mine = [
        each
        for each in listed
        if (each["name"] or "").startswith(PREFIX) and each["revs"] and each["revs"][0]["data"]
    ]
    return [_experiment(each["name"], each["revs"][0]["data"]) for each in mine]


def _experiment(name: str, data: dict[str, Any]) -> Experiment:
    params = data["params"]["params.yaml"].get("data", {})
    return Experiment(
        name, params, {path: file["data"] for path, file in data["metrics"].items() if "data" in file}
    )


def _place(commit: str) -> str:
    return f"refs/exps/{commit[:2]}/{commit[2:]}"
