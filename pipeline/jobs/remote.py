"""The DVC remote, through which data and models travel to a cluster and back: looked at before anything is sent."""

from pathlib import Path
from typing import Any

from pipeline.errors import SubmitError, shown

ADD = (
    "run `dvc remote add --default <name> s3://bucket/dvc` and commit .dvc/config (credentials stay in AWS_* variables; "
    ".dvc/config.local is never sent)"
)
PROBE = "espalier-probe"


def check_remote(root: Path) -> None:
    """Raises SubmitError where the tree that is sent would name no remote that nodes reach, or this one takes no file."""
    name, url = named_remote(root)
    _write(root, name, url)


def named_remote(root: Path) -> tuple[str, str]:
    """Name and address of the remote in .dvc/config, which travels. Raises SubmitError where nodes would find none."""
    from dvc.config import Config, ConfigError

    path = root / ".dvc" / "config"
    try:
        config: dict[str, Any] = Config.load_file(str(path)) if path.exists() else {}
    except ConfigError as error:
        raise SubmitError(f"{path} cannot be read: {error}") from error
    name = config.get("core", {}).get("remote")
    if name is None:
        raise SubmitError(f"no DVC remote in .dvc/config; {ADD}")
    url = config.get("remote", {}).get(name, {}).get("url")
    if url is None:
        raise SubmitError(f".dvc/config has no address of the DVC remote {name!r}; {ADD}")
    if "://" not in url and not Path(url).is_absolute():
        raise SubmitError(f"the DVC remote {name!r} is {url}, a folder relative to this project, which no node sees; {ADD}")
    return name, url


def _write(root: Path, name: str, url: str) -> None:
    """Write a file to the remote, as `dvc push` would, and remove it: a push of nothing never asks the remote."""
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            remote = repo.cloud.get_remote(name)
            files, path = remote.fs, remote.fs.join(remote.path, PROBE)
            files.makedirs(remote.path, exist_ok=True)
            files.pipe_file(path, b"")
            files.rm_file(path)
    except Exception as error:  # DVC's, botocore's and the system's have no common base
        said = shown(" ".join(str(error).split())) or type(error).__name__
        raise SubmitError(
            f"the DVC remote {name!r} ({shown(url)}) takes no file: {said}; check that it exists, and its credentials"
        ) from error
