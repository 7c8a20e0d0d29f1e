"""Where workers have room, and how many there are."""

import pytest

from pipeline.errors import TrainingError
from pipeline.launch.ray_cluster import (
    _placement,
)
from pipeline.launch.resources import choose_placement, cluster_address, count_gpus
from pipeline.train.params import LOGICAL_SHARDS, FitParams
from tests.support.fit_samples import BASE
from tests.support.launch_samples import resources


def test_what_cannot_be_placed_is_said_with_what_the_cluster_has() -> None:
    with pytest.raises(
        TrainingError,
        match=r"2 workers of 2 CPUs each do not fit: the cluster at 10.0.0.1:6379 has 2\+1 CPUs; lower "
        r"resources.w",
    ):
        choose_placement(resources(), [{"CPU": 2.0}, {"CPU": 1.0}], 128, "10.0.0.1:6379")
    with pytest.raises(
        TrainingError,
        match="2 workers of 2 CPUs and 1 GPUs each do not fit: the cluster at this machine has 8 CPUs and 0 "
        "GPUs",
    ):
        choose_placement(resources(device="cuda"), [{"CPU": 8.0}], 128, "this machine")
    assert choose_placement(resources(), [{"CPU": 4.0}], 128, "here") == (2, 2, "cpu")


def test_a_worker_must_fit_on_one_node() -> None:
    with pytest.raises(TrainingError, match=r"has 2x3\+2 CPUs"):
        choose_placement(resources(workers=4), [{"CPU": 3.0}, {"CPU": 3.0}, {"CPU": 2.0}], 128, "here")


def test_a_head_without_cpus_takes_no_part() -> None:
    nodes = [{"CPU": 0.0}, {"memory": 1e9}, {"CPU": 8.0}, {"CPU": 8.0}]
    spread = resources(workers=4, threads_per_worker="auto")
    assert choose_placement(spread, nodes, 512, "here") == (4, 4, "cpu")
    with pytest.raises(TrainingError, match="the cluster at here has no CPUs to train on; add nodes"):
        choose_placement(resources(), [{"CPU": 0.0}], 128, "here")


def test_the_accelerator_that_is_asked_for_is_there_or_the_others_are_named() -> None:
    nodes = [
        {"CPU": 8.0, "GPU": 2.0, "accelerator_type:A100": 1.0},
        {"CPU": 8.0, "GPU": 4.0, "accelerator_type:H100": 1.0},
    ]
    fast = resources(workers="auto", accelerator="H100")
    assert choose_placement(fast, nodes, 512, "here") == (4, 2, "cuda")
    with pytest.raises(
        TrainingError, match=r"accelerator is L4, but the cluster at here has A100, H100; name one of them"
    ):
        choose_placement(resources(accelerator="L4"), nodes, 128, "here")


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
    assert choose_placement(resources(**changes), [node], 128, "here") == expected


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
    assert choose_placement(resources(workers=4, device="cpu"), [node], 128, "here") == (4, 2, "cpu")
    assert choose_placement(resources(min_workers=1), [node], 128, "here") == (1, 2, "cuda")


def test_gpus_of_another_kind_do_not_count() -> None:
    nodes = [
        {"CPU": 8.0, "GPU": 2.0, "accelerator_type:A100": 1.0},
        {"CPU": 8.0, "GPU": 1.0, "accelerator_type:H100": 1.0},
    ]
    assert choose_placement(resources(accelerator="H100"), nodes, 128, "here") == (1, 2, "cuda")
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
    spread = resources(workers="auto", threads_per_worker=threads)
    assert choose_placement(spread, nodes, batch, "here") == expected


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
