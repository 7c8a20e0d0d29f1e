"""The `resources` section of params.yaml: where and on how much to run, never what to compute.

No stage declares it as a dependency, so moving to another machine reruns nothing. The world size and
the number of threads that were used are recorded in the model's provenance.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from pipeline.base.params import Name, Section
from pipeline.errors import TrainingError, redacted
from pipeline.train.params import Device

Node = Mapping[str, float]
"""CPUs, GPUs and whatever else a node offers, in Ray's words."""
ACCELERATOR = "accelerator_type:"
"""How Ray lists a node's kind of GPU among its resources."""
SMALLEST_SHARE = 32
"""Images of a batch for each worker, under which `auto` adds none: batch norm needs them."""
SHARE_BESIDE_THREADS = 128
"""Images of a batch per worker if the CPUs of a node could as well be one worker's threads. ResNet-20 on one
node of 4, images/s with 1, 2 and 4 workers: 2,276, 2,090 and 1,881 in batches of 128, 2,618, 2,605 and 2,888
in those of 512 (docs/results/training.md)."""


class Resources(Section):
    workers: Annotated[int, Field(ge=1, le=10_000)] | Literal["auto"] = Field(
        description="training processes (ranks), on which the last bits of the weights depend; auto: one per "
        "GPU, or else one per node, while each has 32 images of a batch, and more of them on a node's CPUs "
        "while each has 128 (32 if threads_per_worker is given); counted on all nodes that the cluster's "
        "autoscaler may start, there or not"
    )
    min_workers: int | None = Field(
        ge=1,
        le=10_000,
        description="fewest workers to start with, and to go on with after a node is lost, until there is "
        "room again; null: wait until all have a place",
    )
    threads_per_worker: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        description="CPU threads of each training process, also the CPUs asked of Ray and the threads that "
        "decode images beside a GPU; auto: its share of its node"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        description="where to train, on CUDA with one GPU for each worker, as it is one rank of DDP; auto "
        "takes the GPUs that are there or yet to be started, and says so if those are fewer than workers: "
        "then each has one worker"
    )
    accelerator: Name | None = Field(
        description="kind of GPU to train on, in Ray's words (H100, A100-80G, ...); null: any"
    )
    placement: Literal["spread", "pack"] = Field(
        description="spread: workers on as many nodes as there are; pack: on as few, which keeps the traffic "
        "inside them"
    )
    address: str | None = Field(
        max_length=2000,
        description="Ray cluster: host:port, from one of its nodes; http://host:8265, its head's dashboard, "
        "from one that is no node, with a storage; null starts a local one; RAY_ADDRESS overrides it",
    )
    storage: str | None = Field(
        max_length=2000,
        description="where workers on other machines leave checkpoints and find their inputs: a folder that "
        "every node mounts, or s3://bucket/prefix (credentials by AWS_* variables); null: the project's own "
        "folder, which every node must see",
    )
    await_nodes_s: float = Field(
        ge=0.0,
        le=604_800.0,
        description="seconds to wait for nodes that the cluster's autoscaler starts; what it never can is "
        "refused at once; 0: only nodes that are there count, also for auto",
    )
    max_failures: int = Field(ge=0, le=10_000, description="restarts of the workers before training gives up")
    checkpoint_s: float = Field(
        ge=0.0,
        le=604_800.0,
        description="seconds between two checkpoints within an epoch; 0: one at every step",
    )
    show_ray_logs: bool = Field(description="show Ray's own log lines")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.min_workers is not None and isinstance(self.workers, int) and self.min_workers > self.workers:
            raise ValueError(
                f"min_workers ({self.min_workers}) is larger than workers ({self.workers}); lower it"
            )
        return self


def cluster_address(resources: Resources | None) -> str | None:
    """Address of the cluster to train on, `auto` for the one that Ray finds here; None for a Ray of our own.

    Raises TrainingError for what is no address of a cluster, or one of Ray's client.
    """
    source = "RAY_ADDRESS" if os.environ.get("RAY_ADDRESS") else "resources.address"
    address = (
        (os.environ.get("RAY_ADDRESS") or (resources and resources.address) or "local").strip().rstrip("/")
    )
    scheme, has_scheme, rest = address.rpartition("://")
    if address.lower() in {"local", "auto"}:
        return None if address.lower() == "local" else "auto"
    if scheme.lower() in {"http", "https"}:
        return f"{scheme.lower()}://{rest}"
    host, _, port = address.rpartition(":")
    if has_scheme or not host or not port.isdecimal():
        what = (
            "is Ray's client, which drives no training"
            if scheme.lower() == "ray"
            else "is no address of a Ray cluster"
        )
        raise TrainingError(
            f"{source} is {redacted(address)}, which {what}; give host:port, as `ray start --head` prints "
            "it, on one of its nodes, http://host:8265, its dashboard, elsewhere, or local for a Ray of this "
            "stage alone"
        )
    return address


def is_job_server(address: str) -> bool:
    """Whether an address is of a cluster's dashboard, through which a machine trains that is no node."""
    return address.startswith(("http://", "https://"))


class Placement(NamedTuple):
    """What `auto` came to."""

    workers: int
    threads: int
    device: Device

    @property
    def needs(self) -> dict[str, int]:
        """Resources of each worker, in Ray's words."""
        return {"CPU": self.threads} | ({"GPU": 1} if self.device == "cuda" else {})

    def bundle(self, resources: Resources) -> dict[str, float]:
        """What a worker is placed by: what it needs, and the kind of GPU, as Ray Train asks for it."""
        return self.needs | ({ACCELERATOR + resources.accelerator: 0.001} if resources.accelerator else {})


def choose_placement(
    resources: Resources,
    nodes: Sequence[Node],
    batch: int,
    where: str,
    most: int | None = None,
    most_workers: int | None = None,
) -> Placement:
    """Workers and threads for nodes with these CPUs and GPUs, and for global batches of `batch` images.

    most: nodes that can be up at once if an autoscaler starts them. most_workers: limit of `auto`. Raises
    TrainingError if they have no room, for which Ray would wait for ever.
    """
    nodes = [
        node for node in nodes if node.get("CPU", 0.0) >= 1.0
    ]  # a head often offers none, so as not to be lost to a worker
    if not nodes:
        raise TrainingError(f"the cluster at {where} has no CPUs to train on; add nodes")
    if resources.accelerator:
        nodes = _with_accelerator(nodes, resources.accelerator, where)
    gpus = count_gpus(resources, nodes, most)
    device = resources.device if resources.device != "auto" else _device(resources, gpus)
    nodes = _largest(nodes, "GPU" if device == "cuda" else "CPU", most)
    total = {kind: sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU")}
    cpus = int(min(node["CPU"] for node in nodes))
    asked, fixed = resources.workers, resources.threads_per_worker
    if isinstance(asked, int) and device == "cuda" and resources.device == "auto":
        asked = min(asked, gpus)
    room = total["GPU"] if device == "cuda" else total["CPU"] // (fixed if isinstance(fixed, int) else 1)
    shares = _shares(batch, len(nodes), beside_threads=device == "cpu" and fixed == "auto")
    workers = asked if isinstance(asked, int) else max(1, min(int(room), shares, most_workers or batch))
    threads = fixed if isinstance(fixed, int) else max(1, cpus // -(-workers // len(nodes)))
    placement = Placement(workers, threads, device)
    if room_for(resources, placement, nodes) < workers:
        each = " and ".join(f"{need:g} {kind}s" for kind, need in placement.needs.items())
        have = " and ".join(
            f"{_listed([node.get(kind, 0.0) for node in nodes])} {kind}s" for kind in placement.needs
        )
        raise TrainingError(
            f"{workers} workers of {each} each do not fit: the cluster at {where} has {have}; lower "
            "resources.workers or threads_per_worker, or add nodes"
        )
    return placement


def room_for(resources: Resources, placement: Placement, nodes: Sequence[Node]) -> int:
    """How many workers of this placement these nodes can hold."""
    accelerator = resources.accelerator
    fitting = [node for node in nodes if accelerator is None or ACCELERATOR + accelerator in node]
    return sum(
        min(int(node.get(kind, 0.0) // need) for kind, need in placement.needs.items()) for node in fitting
    )


def _shares(batch: int, num_nodes: int, *, beside_threads: bool) -> int:
    """Workers that a batch is large enough for.

    beside_threads: a node's CPUs are its workers' or their threads', as is faster. Threads wait for each
    other in every layer, workers once a step, but each of many workers computes on a small part of the batch.
    No thread reaches another node.
    """
    most = batch // SMALLEST_SHARE
    return max(min(num_nodes, most), batch // SHARE_BESIDE_THREADS) if beside_threads else most


def _largest(nodes: Sequence[Node], kind: str, most: int | None) -> list[Node]:
    """Nodes with most of this kind, then of CPUs; those without GPUs are left out if others have some."""
    ordered = sorted(nodes, key=lambda node: (node.get(kind, 0.0), node["CPU"]), reverse=True)[:most]
    return [node for node in ordered if node.get(kind)] or ordered


def _listed(values: Sequence[float]) -> str:
    """Numbers in short, such as 8x4+2."""
    counted = Counter(f"{value:g}" for value in values)
    return "+".join(value if count == 1 else f"{count}x{value}" for value, count in counted.items())


def _with_accelerator(nodes: Sequence[Node], kind: str, where: str) -> list[Node]:
    found = [node for node in nodes if ACCELERATOR + kind in node]
    if not found:
        kinds = sorted(
            {
                name.removeprefix(ACCELERATOR)
                for node in nodes
                for name in node
                if name.startswith(ACCELERATOR)
            }
        )
        raise TrainingError(
            f"resources.accelerator is {kind}, but the cluster at {where} has "
            f"{', '.join(kinds) or 'no accelerators'}; name one of them, or set it to null"
        )
    return found


def count_gpus(resources: Resources, nodes: Sequence[Node], most: int | None = None) -> int:
    """GPUs of the kind asked for that have CPUs too. most: number of such nodes that can be up at once."""
    kind = ACCELERATOR + resources.accelerator if resources.accelerator else "CPU"
    useful = [node for node in nodes if node.get("CPU", 0.0) >= 1.0 and kind in node]
    return sum(int(node.get("GPU", 0.0)) for node in _largest(useful, "GPU", most))


def gpu_note(resources: Resources, placement: Placement, gpus: int) -> str | None:
    """What `device: auto` came to with so many GPUs, in a line; None if it is what `workers` says."""
    if resources.device != "auto" or not gpus:
        return None
    if placement.device == "cpu":
        return (
            f"GPUs are not used: there are {gpus}, and resources.min_workers is {resources.min_workers}; "
            "lower it for them"
        )
    if resources.workers in {placement.workers, "auto"}:
        return None
    return (
        f"trains with {placement.workers} of {resources.workers} workers (resources.workers), one on each "
        f"GPU that there is; set resources.device to cpu for {resources.workers} on CPUs"
    )


def _device(resources: Resources, gpus: int) -> Device:
    return "cuda" if gpus >= (resources.min_workers or 1) else "cpu"
