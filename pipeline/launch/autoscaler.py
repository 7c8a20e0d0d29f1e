"""The door to a cluster's autoscaler: which nodes it may start, and waiting for those that a training needs.

Ray 2.60 has no public way to ask for these limits: its head has a place to keep them, but no open autoscaler
writes there. So they are read where the autoscaler reads them, which works beside the head, where drivers
run: in the RayCluster on Kubernetes, else in the file that the autoscaler's process was started with.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import yaml

from pipeline.errors import TrainingError
from pipeline.launch.resources import Node, Placement, Resources, room_for

HEAD = "node:__internal_head__"
"""How Ray marks the head among a node's resources."""
NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
CAPACITY_POLL_S = 0.5


class ClusterLimits(NamedTuple):
    """What a cluster can grow to."""

    nodes: Sequence[Node]
    """The head, and every node that may be started, of all kinds."""
    most: int
    """Nodes of this kind at once."""


def alive_nodes() -> list[Node]:
    """Nodes of the cluster that this process is connected to."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def cluster_limits() -> ClusterLimits | None:
    """Limits of the cluster of this process; None without an autoscaler, or if they cannot be seen."""
    name = os.environ.get("RAY_CLUSTER_NAME")  # KubeRay sets it in every container
    config = _of_kubernetes(name) if name else _of_process()
    return derived_limits(config, alive_nodes()) if config else None


def derived_limits(config: Mapping[str, Any], alive: Sequence[Node]) -> ClusterLimits | None:
    """Limits that an autoscaler's configuration sets, `config` being as the cluster launcher completes it.

    None if it does not tell a node's size, as for machines that exist.
    """
    most: int = config["max_workers"]
    kinds = config["available_node_types"].values()
    counted = [(kind.get("resources", {}), min(kind.get("max_workers", 0), most)) for kind in kinds]
    if any(count and "CPU" not in node for node, count in counted):
        return None
    head = [node for node in alive if HEAD in node and node.get("CPU", 0.0) >= 1.0]
    return ClusterLimits(head + [node for node, count in counted for _ in range(count)], most + len(head))


def await_nodes(resources: Resources, placement: Placement, where: str) -> None:
    """Return when the nodes have room for the fewest workers; the autoscaler is asked for all.

    Raises TrainingError after `resources.await_nodes_s`.
    """
    if room_for(resources, placement, alive_nodes()) >= _fewest(resources, placement):
        return
    from ray.util import placement_group, remove_placement_group

    # Ray drops it when this process ends, however it ends; `request_resources` would keep nodes running after
    # a kill.
    asked = placement_group(
        [placement.bundle(resources)] * placement.workers, strategy=resources.placement.upper()
    )
    try:
        await_room(resources, placement, where, alive_nodes)
    finally:
        remove_placement_group(asked)  # else Ray Train's own would wait for it


def await_room(
    resources: Resources, placement: Placement, where: str, nodes: Callable[[], Sequence[Node]]
) -> None:
    """Wait for room on nodes that somebody asked for; `nodes` looks which are there.

    Each change is shown. Raises TrainingError.
    """
    deadline, shown, fewest = time.monotonic() + resources.await_nodes_s, -1, _fewest(resources, placement)
    while (room := room_for(resources, placement, nodes())) < fewest:
        if time.monotonic() >= deadline:
            raise TrainingError(
                f"after {resources.await_nodes_s:g} s the cluster at {where} has room for {room} of {fewest} "
                "workers; `ray status` on its head may tell why no more nodes start; ask for less, or raise "
                "resources.await_nodes_s"
            )
        if room != shown:
            sys.stderr.write(
                f"espalier: waiting up to {resources.await_nodes_s:g} s for nodes of the cluster's "
                f"autoscaler: room for {room} of {fewest} workers\n"
            )
        shown = room
        time.sleep(CAPACITY_POLL_S)


def _fewest(resources: Resources, placement: Placement) -> int:
    """Workers with which Ray Train starts; an elastic training grows later."""
    return min(resources.min_workers or placement.workers, placement.workers)


def _of_process() -> dict[str, Any] | None:
    """What the autoscaler of this cluster was told, if it runs on this machine."""
    import ray

    # in the path of its logs; no other cluster's has it
    session = f"/{ray.get_runtime_context().get_session_name()}/"
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or ()
        path = next(
            (word.partition("=")[2] for word in words if word.startswith("--autoscaling-config=")), None
        )
        if path and any(session in word for word in words):
            return _read(Path(path).expanduser())
    return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        _tell(error)
        return None
    return config


def _of_kubernetes(name: str, namespace: Path = NAMESPACE) -> dict[str, Any] | None:
    """Settings of this RayCluster, read with the rights of the head's pod, as its autoscaler derives them."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
    from ray.autoscaler._private.kuberay.node_provider import KubernetesHttpApiClient

    try:
        cluster = KubernetesHttpApiClient(namespace.read_text(encoding="utf-8")).get(f"rayclusters/{name}")
        if not cluster["spec"].get("enableInTreeAutoscaling"):
            return None
        config: dict[str, Any] = _derive_autoscaling_config_from_ray_cr(cluster)
    except (OSError, ValueError) as error:  # those of requests are OSErrors
        _tell(error)
        return None
    return config


def _tell(error: Exception) -> None:
    sys.stderr.write(
        f"espalier: what the cluster's autoscaler may start cannot be read ({error}), so only nodes that are "
        "there count\n"
    )
