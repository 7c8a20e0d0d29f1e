"""What is said of a cluster, without starting one."""

import os
import stat
import tempfile
from pathlib import Path

import pytest
from ray._private.node import Node

from pipeline.launch.ray_cluster import (
    _cause,
    _local,
    _ray_folder,
    _start_few_processes,
    _token,
    _trainer_class,
    ray_folders,
)
from tests.support.launch_samples import resources


def test_a_local_ray_lies_in_a_folder_that_only_its_user_enters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray gives its own folder, which it is told, mode 0777 (ray/_common/utils.py:
    try_to_create_directory).
    """
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with _ray_folder(tmp_path / "run") as folder:
        token = Path(_token(folder)["RAY_AUTH_TOKEN_PATH"])
        rays = Path(_local(resources(), folder)["_temp_dir"])
        rays.mkdir()
        rays.chmod(0o777)
        assert [stat.S_IMODE(path.stat().st_mode) for path in (rays.parent, token)] == [0o700, 0o600]
        assert token.parent == rays.parent
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("show", [True, False])
def test_a_local_ray_is_started_without_processes_that_nothing_needs(
    monkeypatch: pytest.MonkeyPatch, show: bool
) -> None:
    """One of which also asks the network for its cloud if reports are off.

    Seen on the wire in tests/cluster/test_network.py.
    """
    names = ("start_api_server", "start_monitor", "start_log_monitor", "start_gcs_server", "start_raylet")
    before = {name: getattr(Node, name) for name in names}
    for name, start in before.items():
        monkeypatch.setattr(Node, name, start)  # put back afterwards
    _start_few_processes(resources(show_ray_logs=show))
    kept = {name for name, start in before.items() if getattr(Node, name) is start}
    assert kept == {"start_gcs_server", "start_raylet"} | ({"start_log_monitor"} if show else set())


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")  # of its own settings
@pytest.mark.parametrize("is_local", [True, False])
def test_a_training_starts_without_rays_datasets_and_a_local_one_without_the_cleaner(is_local: bool) -> None:
    trainer = _trainer_class(is_local=is_local)(print)
    made = {type(each).__name__ for each in trainer._create_default_callbacks()}
    assert "BackendSetupCallback" in made
    assert "DatasetsCallback" not in made
    assert ("PlacementGroupCleanerCallback" in made) is not is_local


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to another user")
def test_the_folder_of_another_user_is_not_a_ray_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with _ray_folder(tmp_path / "run") as folder:
        other = folder.with_name(f"{folder.name[:-8]}aaaaaaaa")
        other.mkdir()
        os.chown(other, 4242, 4242)
        assert ray_folders(tmp_path / "run") == [folder]
    assert list(tmp_path.iterdir()) == [other]


def test_a_failure_is_told_by_its_last_line() -> None:
    error = RuntimeError("outer")
    error.worker_failures = {1: "Traceback ...\n  File\nValueError: the reason\n"}  # type: ignore[attr-defined]
    assert _cause(error) == "ValueError: the reason"
    assert _cause(RuntimeError("outer")) == "outer"
