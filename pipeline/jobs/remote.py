"""The DVC remote, through which data and models travel to a cluster and back."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import SubmitError, redacted, secret_in
from pipeline.repro.dag import opened
from pipeline.storage import PROBE_BYTES

ADD = (
    "run `dvc remote add --default <name> s3://bucket/dvc` and commit .dvc/config (credentials stay in AWS_* "
    "variables; .dvc/config.local is never sent)"
)
PROBE_PREFIX = "espalier-probe-"


def check_remote(root: Path) -> None:
    """Raises SubmitError if the tree names no remote that nodes reach, or this one takes no file."""
    name, url = named_remote(root)
    _write(root, name, url)


def named_remote(root: Path) -> tuple[str, str]:
    """Name and address of the remote in .dvc/config, which travels.

    Raises SubmitError if nodes would find none.
    """
    from dvc.config import Config, ConfigError

    path = root / ".dvc" / "config"
    try:
        config: dict[str, Any] = Config.load_file(str(path)) if path.exists() else {}
    except ConfigError as error:
        raise SubmitError(f"{path} cannot be read: {error}") from error
    name = config.get("core", {}).get("remote")
    if name is None:
        raise SubmitError(f"no DVC remote in .dvc/config; {ADD}")
    remote = config.get("remote", {}).get(name, {})
    if remote.get("version_aware") or remote.get("worktree"):
        raise SubmitError(
            f"the DVC remote {name!r} keeps versions of files in DVC's place, and cannot be asked which "
            "outputs it holds; name another without version_aware or worktree in .dvc/config"
        )
    url = remote.get("url")
    if url is None:
        raise SubmitError(f".dvc/config has no address of the DVC remote {name!r}; {ADD}")
    if secret := secret_in(url):
        raise SubmitError(
            f".dvc/config has {secret}, of the DVC remote {name!r}, and is sent along; take it out, give it "
            "in variables (AWS_*), and replace the secret, which git's history keeps"
        )
    if "://" not in url and not Path(url).is_absolute():
        raise SubmitError(
            f"the DVC remote {name!r} is {url}, a folder relative to this project, which no node sees; {ADD}"
        )
    return name, url


def send_outputs(root: Path, name: str) -> None:
    """Send a stage's outputs, and then the note by which `dvc repro --pull` knows that it was run.

    Raises SubmitError.
    """
    from dvc.stage.cache import _can_hash, _get_stage_hash

    with _asked(*named_remote(root)), opened(root) as repo:
        repo.push(targets=[name])
        (stage,) = repo.stage.collect(name)
        if _can_hash(stage):
            runs, key = Path(repo.stage_cache.cache_dir), _get_stage_hash(stage)
            # Below whose path DVC looks for notes.
            remote = repo.cloud.get_remote_odb(hash_name="md5-dos2unix")
            for note in (runs / key[:2] / key).glob("*"):
                remote.fs.put_file(str(note), remote.fs.join(remote.path, "runs", key[:2], key, note.name))


def lacking(root: Path) -> list[str]:
    """Stages in dvc.lock whose outputs are not all in the remote. Raises SubmitError.

    DVC sends a folder's own object last: if that is in the remote, all of its files are.
    """
    from dvc.stage import PipelineStage

    with _asked(*named_remote(root)), opened(root) as repo:
        outs = {
            stage.addressing: {
                out.hash_info for out in stage.outs if out.hash_info and out.use_cache and out.can_push
            }
            for stage in repo.index.stages
            if isinstance(stage, PipelineStage)
        }
        found = repo.cloud.status(set().union(*outs.values()))
        return sorted(name for name, hashes in outs.items() if hashes & (found.missing | found.new))


def _write(root: Path, name: str, url: str) -> None:
    """Write a file to the remote, as `dvc push` would, and remove it: pushing nothing asks no remote."""
    with _asked(name, url), opened(root) as repo:
        remote = repo.cloud.get_remote(name)
        files, path = remote.fs, remote.fs.join(remote.path, PROBE_PREFIX + secrets.token_hex(4))
        files.makedirs(remote.path, exist_ok=True)
        try:
            files.pipe_file(path, secrets.token_bytes(PROBE_BYTES))
        finally:
            if files.exists(path):  # also the part of it that a full disk took
                files.rm_file(path)


@contextmanager
def _asked(name: str, url: str) -> Iterator[None]:
    """Around what asks the remote: each way to fail is said in our words."""
    try:
        yield
    except Exception as error:  # DVC's, botocore's and the system's have no common base
        said = redacted(" ".join(str(error).split())) or type(error).__name__
        raise SubmitError(
            f"the DVC remote {name!r} ({redacted(url)}) takes no file: {said}; check that it exists, and its "
            "credentials"
        ) from error
