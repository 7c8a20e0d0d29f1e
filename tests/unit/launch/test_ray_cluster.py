"""What is said of a cluster, and the live line, without starting one."""

import io
import json
import os
import stat
import tempfile
import time
from pathlib import Path

import pytest
from ray._private.node import Node

from pipeline.errors import TrainingError
from pipeline.launch.autoscaler import Reach, await_room, reach
from pipeline.launch.ray_cluster import (
    _cause,
    _local,
    _placement,
    _ray_folder,
    _start_no_reporter,
    _token,
    ray_folders,
)
from pipeline.launch.resources import Placement, Resources, cluster_address, count_gpus, place, room_for
from pipeline.tracking.progress import WRITE_EVERY_S, ProgressWriter, render, shown
from pipeline.train.params import LOGICAL_SHARDS, FitParams
from tests.support.fit_samples import BASE


def resources(**changes: object) -> Resources:
    values = {
        "workers": 2,
        "min_workers": None,
        "threads_per_worker": 2,
        "device": "auto",
        "accelerator": None,
        "placement": "spread",
        "address": None,
        "storage": None,
        "await_nodes_s": 60.0,
        "max_failures": 0,
        "checkpoint_s": 30.0,
        "show_ray_logs": False,
    }
    return Resources.model_validate(values | changes)


def test_what_cannot_be_placed_is_said_with_what_the_cluster_has() -> None:
    with pytest.raises(
        TrainingError,
        match=r"2 workers of 2 CPUs each do not fit: the cluster at 10.0.0.1:6379 has 2\+1 CPUs; lower "
        r"resources.w",
    ):
        place(resources(), [{"CPU": 2.0}, {"CPU": 1.0}], 128, "10.0.0.1:6379")
    with pytest.raises(
        TrainingError,
        match="2 workers of 2 CPUs and 1 GPUs each do not fit: the cluster at this machine has 8 CPUs and 0 "
        "GPUs",
    ):
        place(resources(device="cuda"), [{"CPU": 8.0}], 128, "this machine")
    assert place(resources(), [{"CPU": 4.0}], 128, "here") == (2, 2, "cpu")


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


def test_a_local_ray_is_started_without_the_process_that_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which also asks the network for its cloud if reports are off.

    Seen on the wire in tests/cluster/test_network.py.
    """
    monkeypatch.setattr(Node, "start_api_server", Node.start_api_server)  # put back afterwards
    started = Node.start_api_server
    _start_no_reporter()
    assert Node.start_api_server is not started


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


def test_a_worker_must_fit_on_one_node() -> None:
    with pytest.raises(TrainingError, match=r"has 2x3\+2 CPUs"):
        place(resources(workers=4), [{"CPU": 3.0}, {"CPU": 3.0}, {"CPU": 2.0}], 128, "here")


def test_a_head_without_cpus_takes_no_part() -> None:
    nodes = [{"CPU": 0.0}, {"memory": 1e9}, {"CPU": 8.0}, {"CPU": 8.0}]
    assert place(resources(workers=4, threads_per_worker="auto"), nodes, 512, "here") == (4, 4, "cpu")
    with pytest.raises(TrainingError, match="the cluster at here has no CPUs to train on; add nodes"):
        place(resources(), [{"CPU": 0.0}], 128, "here")


def test_the_accelerator_that_is_asked_for_is_there_or_the_others_are_named() -> None:
    nodes = [
        {"CPU": 8.0, "GPU": 2.0, "accelerator_type:A100": 1.0},
        {"CPU": 8.0, "GPU": 4.0, "accelerator_type:H100": 1.0},
    ]
    assert place(resources(workers="auto", accelerator="H100"), nodes, 512, "here") == (4, 2, "cuda")
    with pytest.raises(
        TrainingError, match=r"accelerator is L4, but the cluster at here has A100, H100; name one of them"
    ):
        place(resources(accelerator="L4"), nodes, 128, "here")


@pytest.mark.parametrize(
    ("gpus", "changes", "expected"),
    [
        (0, {}, (2, 2, "cpu")),
        (1, {}, (1, 2, "cuda")),
        (2, {}, (2, 2, "cuda")),
        (4, {}, (2, 2, "cuda")),
        (1, {"workers": 1}, (1, 2, "cuda")),
        (0, {"workers": 4}, (4, 2, "cpu")),
        (1, {"workers": 4}, (1, 2, "cuda")),
        (3, {"workers": 4}, (3, 2, "cuda")),
        (0, {"workers": "auto"}, (4, 2, "cpu")),
        (1, {"workers": "auto"}, (1, 2, "cuda")),
        (2, {"workers": "auto"}, (2, 2, "cuda")),
        (1, {"min_workers": 2}, (2, 2, "cpu")),
        (1, {"min_workers": 1}, (1, 2, "cuda")),
        (2, {"workers": 4, "min_workers": 2}, (2, 2, "cuda")),
        (2, {"device": "cpu"}, (2, 2, "cpu")),
        (1, {"device": "cpu", "workers": 4}, (4, 2, "cpu")),
    ],
)
def test_auto_takes_the_gpus_that_are_there(
    gpus: int, changes: dict[str, object], expected: tuple[int, int, str]
) -> None:
    node = {"CPU": 8.0, "GPU": float(gpus)} if gpus else {"CPU": 8.0}
    assert place(resources(**changes), [node], 128, "here") == expected


@pytest.mark.parametrize(
    ("gpus", "changes", "said"),
    [
        (
            1,
            {"workers": 2},
            "trains with 1 of 2 workers (resources.workers), one on each GPU that there is; set "
            "resources.device",
        ),
        (3, {"workers": 4, "min_workers": 2}, "trains with 3 of 4 workers"),
        (
            1,
            {"workers": 2, "min_workers": 2},
            "GPUs are not used: there are 1, and resources.min_workers is 2; lower it",
        ),
        (2, {"workers": 2}, None),
        (4, {"workers": 2}, None),
        (1, {"workers": "auto"}, None),
        (0, {"workers": 2}, None),
        (1, {"workers": 2, "device": "cpu"}, None),
    ],
)
def test_where_workers_and_gpus_differ_a_line_says_so(
    gpus: int,
    changes: dict[str, object],
    said: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "pipeline.launch.ray_cluster.alive_nodes", lambda: [{"CPU": 16.0, "GPU": float(gpus)}]
    )
    _placement(resources(**changes), FitParams.model_validate(BASE), None)
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith(f"espalier: {said}") for line in lines] == ([] if said is None else [True])


def test_the_remedies_of_that_line_work() -> None:
    node = {"CPU": 16.0, "GPU": 1.0}
    assert place(resources(workers=4, device="cpu"), [node], 128, "here") == (4, 2, "cpu")
    assert place(resources(min_workers=1), [node], 128, "here") == (1, 2, "cuda")


def test_gpus_of_another_kind_do_not_count() -> None:
    nodes = [
        {"CPU": 8.0, "GPU": 2.0, "accelerator_type:A100": 1.0},
        {"CPU": 8.0, "GPU": 1.0, "accelerator_type:H100": 1.0},
    ]
    assert place(resources(accelerator="H100"), nodes, 128, "here") == (1, 2, "cuda")
    assert count_gpus(resources(accelerator="H100"), nodes) == 1
    assert count_gpus(resources(), [*nodes, {"CPU": 0.0, "GPU": 8.0}]) == 3


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", None),
        ("local", None),
        ("LOCAL", None),
        (" local/ ", None),
        ("auto", "auto"),
        ("Auto", "auto"),
        ("10.0.0.1:6379", "10.0.0.1:6379"),
        ("10.0.0.1:6379/", "10.0.0.1:6379"),
        ("head:6379", "head:6379"),
        ("http://head:8265/", "http://head:8265"),
        ("HTTPS://head:8265", "https://head:8265"),
    ],
)
@pytest.mark.parametrize("variable", [True, False])
def test_an_address_is_read_as_ray_reads_it(
    address: str, expected: str | None, monkeypatch: pytest.MonkeyPatch, *, variable: bool
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address if variable else "")
    assert cluster_address(resources(address=None if variable else address)) == expected


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "head", "ray:6379x", ":6379", "tcp://head:6379", "ray://head:10001", "RAY://h:1"]
)
def test_what_is_no_address_of_a_cluster_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    what = (
        "is Ray's client, which drives no training"
        if address.lower().startswith("ray:/")
        else "is no address of a Ray cluster"
    )
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(
        TrainingError, match=rf"resources.address is {address}, which {what}; give host:port, .* or local"
    ):
        cluster_address(resources(address=address))
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(TrainingError, match=rf"RAY_ADDRESS is {address}, which {what}"):
        cluster_address(resources())


@pytest.mark.parametrize(
    ("threads", "cpus", "batch", "expected"),
    [
        ("auto", [4], 512, (4, 1, "cpu")),  # 128 images each
        ("auto", [4], 128, (1, 4, "cpu")),
        ("auto", [2], 128, (1, 2, "cpu")),
        (1, [4], 128, (4, 1, "cpu")),  # CPUs that threads may not have
        (2, [4], 512, (2, 2, "cpu")),
        (2, [4], 16, (1, 2, "cpu")),
        ("auto", [4, 4], 128, (2, 4, "cpu")),  # which no worker's threads share
        ("auto", [4, 4, 4], 64, (2, 4, "cpu")),  # 32 images each
        ("auto", [8, 4], 1024, (8, 1, "cpu")),
    ],
)
def test_auto_gives_cpus_to_threads_until_a_worker_each_has_images_enough(
    threads: int | str, cpus: list[int], batch: int, expected: tuple[int, int, str]
) -> None:
    nodes = [{"CPU": float(number)} for number in cpus]
    assert place(resources(workers="auto", threads_per_worker=threads), nodes, batch, "here") == expected


def test_auto_takes_no_more_workers_than_the_training_has_work_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.launch.ray_cluster.alive_nodes", lambda: [{"CPU": 16.0}])
    exact = FitParams.model_validate(BASE | {"global_batch_size": 4096, "exact_elastic": True})
    assert _placement(resources(workers="auto", threads_per_worker="auto"), exact, None) == (
        LOGICAL_SHARDS,
        4,
        "cpu",
    )
    plain = FitParams.model_validate(BASE | {"global_batch_size": 4096, "accumulate": 1024})
    assert _placement(resources(workers="auto", threads_per_worker="auto"), plain, None) == (4, 4, "cpu")


def autoscaler(most: int, *kinds: tuple[dict[str, float], int]) -> dict[str, object]:
    """Its configuration: the head offers nothing, and of each kind of node there may be so many."""
    head = {"resources": {"CPU": 0}, "max_workers": 0}
    types = {
        f"kind-{number}": {"resources": node, "max_workers": count}
        for number, (node, count) in enumerate(kinds)
    }
    return {"max_workers": most, "available_node_types": {"head": head} | types}


SMALL, GPU = {"CPU": 2.0}, {"CPU": 8.0, "GPU": 1.0}
HEAD = {"node:__internal_head__": 1.0}


def test_what_an_autoscaler_may_start_counts_as_there() -> None:
    limits = reach(autoscaler(10, (SMALL, 3)), [HEAD])
    assert limits == Reach([SMALL] * 3, 10)
    assert place(resources(workers=3), limits.nodes, 128, "here", limits.most) == (3, 2, "cpu")
    with pytest.raises(
        TrainingError, match="4 workers of 2 CPUs each do not fit: the cluster at here has 3x2 CPUs"
    ):
        place(resources(workers=4), limits.nodes, 128, "here", limits.most)


def test_a_head_with_cpus_is_one_node_more() -> None:
    assert reach(autoscaler(1, (SMALL, 3)), [HEAD | {"CPU": 4.0}, SMALL]) == Reach(
        [HEAD | {"CPU": 4.0}, SMALL], 2
    )
    assert reach(autoscaler(0, (SMALL, 3)), [HEAD]) == Reach([], 0)


def test_kinds_share_the_largest_number_of_nodes() -> None:
    limits = reach(autoscaler(4, (SMALL, 3), (GPU, 3)), [HEAD])
    assert limits is not None
    assert place(
        resources(workers="auto", threads_per_worker="auto"), limits.nodes, 512, "here", limits.most
    ) == (3, 8, "cuda")
    with pytest.raises(TrainingError, match=r"has 3x8\+2 CPUs"):
        place(resources(workers=14, device="cpu"), limits.nodes, 512, "here", limits.most)
    with pytest.raises(
        TrainingError, match=r"4 workers of 2 CPUs and 1 GPUs each do not fit: .* has 3x8 CPUs and 3x1 GPUs"
    ):
        place(resources(workers=4, device="cuda"), limits.nodes, 512, "here", limits.most)


def test_of_nodes_with_as_many_gpus_those_with_more_cpus_may_come() -> None:
    limits = reach(autoscaler(2, ({"CPU": 2.0, "GPU": 1.0}, 2), (GPU, 2)), [HEAD])
    assert limits is not None
    assert place(resources(threads_per_worker=8), limits.nodes, 128, "here", limits.most) == (2, 8, "cuda")


def test_machines_that_exist_are_no_limits() -> None:
    """Ray's launcher knows their number, and learns their size when they join."""
    assert reach(autoscaler(3, ({}, 3)), [HEAD]) is None


def test_room_is_counted_in_whole_workers_of_the_kind_of_gpu_asked_for() -> None:
    h100 = GPU | {"accelerator_type:H100": 1.0}
    assert room_for(resources(), Placement(4, 2, "cpu"), [SMALL, {"CPU": 5.0}, HEAD]) == 3
    assert room_for(resources(accelerator="H100"), Placement(4, 2, "cuda"), [h100, GPU]) == 1
    assert Placement(4, 2, "cuda").bundle(resources(accelerator="H100")) == {
        "CPU": 2,
        "GPU": 1,
        "accelerator_type:H100": 0.001,
    }


def test_nodes_are_waited_for_until_the_fewest_workers_have_room(capsys: pytest.CaptureFixture[str]) -> None:
    looks = iter([[HEAD], [HEAD, SMALL], [HEAD, SMALL, SMALL], [HEAD, SMALL, SMALL, SMALL]])
    await_room(resources(min_workers=2, workers=3), Placement(3, 2, "cpu"), "here", lambda: next(looks))
    shown = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in shown] == [
        "room for 0 of 2 workers",
        "room for 1 of 2 workers",
    ]
    assert next(looks), "an elastic training waited for more than it needs"


def test_nodes_that_do_not_come_are_given_up() -> None:
    with pytest.raises(
        TrainingError, match=r"after 0.001 s the cluster at here has room for 1 of 2 workers; `ray status`"
    ):
        await_room(resources(await_nodes_s=0.001), Placement(2, 2, "cpu"), "here", lambda: [SMALL])


def test_a_failure_is_told_by_its_last_line() -> None:
    error = RuntimeError("outer")
    error.worker_failures = {1: "Traceback ...\n  File\nValueError: the reason\n"}  # type: ignore[attr-defined]
    assert _cause(error) == "ValueError: the reason"
    assert _cause(RuntimeError("outer")) == "outer"


def test_the_live_line_reads_well() -> None:
    totals: dict[str, float | str] = {"epochs": 20, "steps": 180}
    now: dict[str, float | str] = {
        "epoch": 3,
        "step": 30,
        "images_per_s": 9120.4,
        "loss": 0.41211,
        "validation": "val top1 0.9120",
        "eta_s": 72.0,
    }
    line = render("train", {**totals, **now})
    assert line == "train  epoch 3/20  step 30/180  9,120 images/s  loss 0.4121  val top1 0.9120  left 1:12"


def test_a_log_file_gets_whole_lines_and_the_last_state(tmp_path: Path) -> None:
    out = io.StringIO()
    with shown(tmp_path, "train", out):
        writer = ProgressWriter(tmp_path, epochs=2, steps=8, first_step=0)
        writer.note = "goes on elsewhere"
        writer.write(epoch=2, step=8, loss=0.5)
        time.sleep(1.5 * WRITE_EVERY_S)
    assert out.getvalue().endswith("left 0:00\n")
    assert out.getvalue().count("espalier train: goes on elsewhere\n") == 1
    assert "\r" not in out.getvalue()
    assert json.loads((tmp_path / "progress.json").read_text())["step"] == 8
