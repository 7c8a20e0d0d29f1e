"""What an autoscaler may still start, and how long it is waited for."""

import pytest

from pipeline.errors import TrainingError
from pipeline.launch.autoscaler import ClusterLimits, await_room, derived_limits
from pipeline.launch.resources import Placement, choose_placement, room_for
from tests.support.launch_samples import GPU, SMALL, resources


def autoscaler(most: int, *kinds: tuple[dict[str, float], int]) -> dict[str, object]:
    """Its configuration: the head offers nothing, and of each kind of node there may be so many."""
    head = {"resources": {"CPU": 0}, "max_workers": 0}
    types = {
        f"kind-{number}": {"resources": node, "max_workers": count}
        for number, (node, count) in enumerate(kinds)
    }
    return {"max_workers": most, "available_node_types": {"head": head} | types}


HEAD = {"node:__internal_head__": 1.0}


def test_what_an_autoscaler_may_start_counts_as_there() -> None:
    limits = derived_limits(autoscaler(10, (SMALL, 3)), [HEAD])
    assert limits == ClusterLimits([SMALL] * 3, 10)
    assert choose_placement(resources(workers=3), limits.nodes, 128, "here", limits.most) == (3, 2, "cpu")
    with pytest.raises(
        TrainingError, match="4 workers of 2 CPUs each do not fit: the cluster at here has 3x2 CPUs"
    ):
        choose_placement(resources(workers=4), limits.nodes, 128, "here", limits.most)


def test_a_head_with_cpus_is_one_node_more() -> None:
    assert derived_limits(autoscaler(1, (SMALL, 3)), [HEAD | {"CPU": 4.0}, SMALL]) == ClusterLimits(
        [HEAD | {"CPU": 4.0}, SMALL], 2
    )
    assert derived_limits(autoscaler(0, (SMALL, 3)), [HEAD]) == ClusterLimits([], 0)


def test_kinds_share_the_largest_number_of_nodes() -> None:
    limits = derived_limits(autoscaler(4, (SMALL, 3), (GPU, 3)), [HEAD])
    assert limits is not None
    assert choose_placement(
        resources(workers="auto", threads_per_worker="auto"), limits.nodes, 512, "here", limits.most
    ) == (3, 8, "cuda")
    with pytest.raises(TrainingError, match=r"has 3x8\+2 CPUs"):
        choose_placement(resources(workers=14, device="cpu"), limits.nodes, 512, "here", limits.most)
    with pytest.raises(
        TrainingError, match=r"4 workers of 2 CPUs and 1 GPUs each do not fit: .* has 3x8 CPUs and 3x1 GPUs"
    ):
        choose_placement(resources(workers=4, device="cuda"), limits.nodes, 512, "here", limits.most)


def test_of_nodes_with_as_many_gpus_those_with_more_cpus_may_come() -> None:
    limits = derived_limits(autoscaler(2, ({"CPU": 2.0, "GPU": 1.0}, 2), (GPU, 2)), [HEAD])
    assert limits is not None
    wide = resources(threads_per_worker=8)
    assert choose_placement(wide, limits.nodes, 128, "here", limits.most) == (2, 8, "cuda")


def test_machines_that_exist_are_no_limits() -> None:
    """Ray's launcher knows their number, and learns their size when they join."""
    assert derived_limits(autoscaler(3, ({}, 3)), [HEAD]) is None


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
