"""What one rank holds during a run, and how it is opened."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel

from pipeline.base.files import sha256_json
from pipeline.base.params import nearest
from pipeline.data.augmentation.reading import MakingReader, StoredReader, TrainReader
from pipeline.data.augmentation.recipe import Augmentation
from pipeline.data.prepared.manifest import read_manifest
from pipeline.data.prepared.reader import Preprocess, ResidentSplit, Split
from pipeline.errors import TrainingError
from pipeline.models.disk.sparse import hold_zeros
from pipeline.models.disk.weights import load_model
from pipeline.models.nets.build import example, rebuild
from pipeline.models.nets.whitening import WHITENED_IMAGES, fit_whitening
from pipeline.tasks.description.params import notes_of
from pipeline.tasks.training.task import Task, make_task
from pipeline.tracking.journal import Journal, NullReporter, Reporter
from pipeline.train import ranks
from pipeline.train.checkpoints.saver import CheckpointStore, Saver
from pipeline.train.initial import fill, head_name, read_tensors
from pipeline.train.job import Inputs, Job, Problem
from pipeline.train.methods import quantization_aware
from pipeline.train.methods.distillation import Renormalised, Tapped, tap
from pipeline.train.methods.exact_elastic import Shards
from pipeline.train.optim import Ema, make_optimizer
from pipeline.train.params import LOGICAL_SHARDS, Device, FitParams
from pipeline.train.sampling import check_batches, num_batches
from pipeline.train.state import State
from pipeline.train.step import Recipe, Teacher
from pipeline.train.transport.worker import open_store

RESIDENT_SHARE = 0.25
"""Fraction of a GPU's free memory up to which a training split is kept there."""


@dataclass
class Run:
    """net: what a step calls, the model with taps, in DDP among several ranks. strata: of the training rows,
    by which sampling is balanced, if it is. shards: with `exact_elastic` alone.

    leaving: whether this rank was told to go. note: what the user should know of this run.
    """

    job: Job
    device: Device
    task: Task
    train: Split
    val: Split
    preprocess: Preprocess
    augmentation: Augmentation
    strata: Tensor | None
    net: nn.Module
    shards: Shards | None
    state: State
    recipe: Recipe
    store: CheckpointStore
    saver: Saver
    reporter: Reporter
    leaving: Callable[[], bool]
    note: str = ""

    @property
    def num_steps(self) -> int:
        params = self.job.problem.params
        return params.epochs * num_batches(len(self.train), params.global_batch_size)

    @property
    def num_waiting(self) -> int:
        """Steps at first in which all but the head waits."""
        params = self.job.problem.params
        return params.head_first_epochs * num_batches(len(self.train), params.global_batch_size)

    def to_training(self) -> None:
        """Put the model into training mode, all but what is frozen."""
        self.state.model.train()
        for name in self.job.problem.params.frozen:
            self.state.model.get_submodule(name).eval()
        quantization_aware.follow_data(self.state.model)

    def autocast(self) -> AbstractContextManager[object]:
        return self.recipe.autocast()


def prepare_torch(job: Job, device: Device, threads: int) -> None:
    """Fix what changes the last bit of a result: threads, kernels, the random start."""
    if job.problem.params.amp == "fp16" and device == "cpu":
        raise TrainingError(
            "amp is fp16, which needs a CUDA device, but this run is on the CPU; use bf16 or off"
        )
    torch.set_num_threads(threads)
    if device == "cuda":
        torch.backends.cudnn.deterministic = True
    torch.manual_seed(job.problem.params.seed)


def open_run(job: Job, device: Device, leaving: Callable[[], bool]) -> Run:
    """Raises TrainingError for what cannot work: too few images for a batch or worker, no teacher."""
    spec, params = job.problem.spec, job.problem.params
    train, val = Split.open(job.inputs.data, "train"), Split.open(job.inputs.data, "val")
    check_sizes(params, len(train), ranks.world_size())
    model = _start(job, train, device)
    ema = Ema(model, averaged := copy.deepcopy(model).eval(), params.ema_decay) if params.ema_decay else None
    if ema:
        averaged.requires_grad_(requires_grad=False)
    student, teacher = _tapped(model, job, device)
    alone = ranks.world_size() == 1 or params.exact_elastic
    store = open_store(job)
    task = make_task(
        job.problem.task, notes_of(spec.task), read_manifest(job.inputs.data).splits["train"], device
    )
    preprocess = Preprocess(spec.preprocessing.mean, spec.preprocessing.std, device)
    reader = _reader(train, params, device)
    dtype = torch.float16 if params.amp == "fp16" else torch.bfloat16
    autocast = partial(torch.autocast, device, dtype=dtype, enabled=params.amp != "off")
    run = Run(
        job=job,
        device=device,
        task=task,
        train=train,
        val=val,
        preprocess=preprocess,
        augmentation=Augmentation(reader, params.augment, preprocess, params.seed),
        strata=_strata(task, train) if params.sampling == "balanced" else None,
        net=student if alone else _distributed(student, job, device),
        shards=Shards(student) if params.exact_elastic else None,
        state=_state(model, student.adapters, ema, job, device),
        recipe=Recipe(task, spec.outputs, autocast, teacher, _penalty(model, job), params.grad_clip),
        store=store,
        saver=Saver(store, job.site.checkpoint_s, device),
        reporter=Journal(job.site.journal) if ranks.rank() == 0 else NullReporter(),
        leaving=leaving,
    )
    hold_zeros(run.state.optimizer, model, spec.sparse)
    run.to_training()
    return run


def _state(model: nn.Module, adapters: nn.Module, ema: Ema | None, job: Job, device: Device) -> State:
    params = job.problem.params
    head = _head(model, params, job.inputs)
    optimizer = make_optimizer(model, params.optimizer, adapters.parameters(), head)
    return State(model, adapters, optimizer, GradScaler(device, enabled=params.amp == "fp16"), ema)


def _distributed(model: Tapped, job: Job, device: Device) -> nn.Module:
    """The model in DDP, whose buckets of gradients lie from the first step on as they will in all later ones.

    DDP lays them out anew after its first backward pass. Three or more ranks add in an order that depends on
    an element's place in its bucket, so the first step of a resumed run would round otherwise than the same
    step of an undisturbed one. Here that first pass is made before any step, in eval mode, which leaves the
    statistics of batch norm alone.
    """
    net = DistributedDataParallel(model, gradient_as_bucket_view=True)
    numbers_BK, maps = net.eval()(example(job.problem.spec, 1).to(device))
    torch.autograd.backward([output.sum() for output in (numbers_BK, *maps)])
    net.zero_grad(set_to_none=False)
    return net


def _strata(task: Task, train: Split) -> Tensor:
    strata = task.strata(train.targets)
    if strata is None:
        raise TrainingError("sampling is balanced, but this task has no classes to balance; use shuffle")
    return strata


def _reader(split: Split, params: FitParams, device: Device) -> TrainReader:
    """What gives training images: from the GPU's memory, unless they would take more than their share of
    what is free; if they are decoded or cropped, made by as many threads as torch has.
    """
    if split.is_encoded or params.augment.resized_crop:
        return MakingReader(split, params.augment.resized_crop, params.seed, torch.get_num_threads())
    if device == "cpu" or split.size_bytes > torch.cuda.mem_get_info()[0] * RESIDENT_SHARE:
        return StoredReader(split)
    return StoredReader(ResidentSplit(split, device))


def _head(model: nn.Module, params: FitParams, inputs: Inputs) -> str | None:
    """Name of the module that learns before the rest, if one shall."""
    if not params.head_first_epochs:
        return None
    if inputs.initial is None and inputs.init is None:
        raise TrainingError(
            f"head_first_epochs is {params.head_first_epochs}, but the network starts from random weights; "
            "set it to 0, or model.init to file"
        )
    return head_name(model)


def _start(job: Job, train: Split, device: Device) -> nn.Module:
    """The model as it is before the first step: on its device, with rounding, frozen if params say so."""
    params = job.problem.params
    if params.quantization_aware and job.inputs.initial is None:
        raise TrainingError(
            "quantization_aware starts from trained weights; set it to null here and use it in finetune"
        )
    start = load_model(job.inputs.initial)[1] if job.inputs.initial else _new_model(job, train)
    model = placed(start, params, device)
    if params.quantization_aware:
        quantization_aware.insert(model, example(job.problem.spec, 1).to(device))
    freeze(model, params.frozen)
    return model


def _new_model(job: Job, train: Split) -> nn.Module:
    spec = job.problem.spec
    model = rebuild(spec)
    if job.inputs.init:
        fill(model, read_tensors(job.inputs.init, spec.ancestors["init"]), str(job.inputs.init))
        return model
    first = torch.arange(min(len(train), WHITENED_IMAGES))
    preprocess = Preprocess(spec.preprocessing.mean, spec.preprocessing.std)
    fit_whitening(model, *preprocess(train.batch(first, "cpu")).inputs.values())
    return model


def origin(problem: Problem) -> dict[str, str]:
    """What a checkpoint must share with the run that goes on from it; the number of workers may change.

    Of libraries those that make bits: torch, numpy, which draws the shares of mixed images, and the one that
    has the network.
    """
    # Not the CPU's instructions, which make bits too: a run that lost its node must be able to go on on one
    # of another kind.
    library, has_network, _ = problem.spec.architecture.name.partition("/")
    libraries = {"torch": torch.__version__, "numpy": np.__version__} | (
        {library: version(library)} if has_network else {}
    )
    return {"problem": sha256_json(problem.model_dump())} | libraries


def check_origin(found: dict[str, str], expected: dict[str, str], folder: Path | str) -> None:
    """Raises TrainingError that says what differs."""
    cure = f"remove {folder} to train from the start"
    if found.get("problem") != expected["problem"]:
        raise TrainingError(f"the checkpoints in {folder} were made from other inputs; {cure}")
    for library, here in expected.items():
        if found.get(library) != here:
            raise TrainingError(
                f"the checkpoints in {folder} were made with {library} {found.get(library)}, and this is "
                f"{here}; install that version to go on from them, or {cure}"
            )


def freeze(model: nn.Module, names: list[str]) -> None:
    """Take the parameters of some modules out of the training.

    Raises TrainingError for a name that the model lacks.
    """
    modules = dict(model.named_modules())
    for name in names:
        if not name or name not in modules:
            known = [module for module in modules if module]
            raise TrainingError(f"frozen: the network has no module {name!r}{nearest(name, known)}")
        modules[name].requires_grad_(requires_grad=False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError(f"frozen: {', '.join(names)} leave nothing to train; freeze less")


def layout(params: FitParams) -> torch.memory_format:
    return torch.channels_last if params.channels_last else torch.contiguous_format


def placed(model: nn.Module, params: FitParams, device: Device) -> nn.Module:
    return model.to(device=device, memory_format=layout(params))  # type: ignore[call-overload, no-any-return]


def check_sizes(params: FitParams, num_images: int, workers: int) -> None:
    """Raises TrainingError if batches of so many images cannot be cut for so many workers."""
    if params.exact_elastic and workers > LOGICAL_SHARDS:
        raise TrainingError(
            f"exact_elastic cuts each batch into {LOGICAL_SHARDS} parts, one worker's at least; lower "
            f"resources.workers from {workers} to {LOGICAL_SHARDS}, or set exact_elastic to false"
        )
    parts = LOGICAL_SHARDS if params.exact_elastic else workers
    check_batches(num_images, params.global_batch_size, parts, params.accumulate)


def _tapped(model: nn.Module, job: Job, device: Device) -> tuple[Tapped, Teacher | None]:
    """The network that a step calls, and its teacher if there is one."""
    distil = job.problem.params.distil
    if distil is None:
        return Tapped(model), None
    if job.inputs.teacher is None:
        raise TrainingError("this stage has no model to distil from; set its `distil` to null")
    spec, network = load_model(job.inputs.teacher)
    teacher = placed(network, job.problem.params, device)
    student, tapped = Tapped(model), Tapped(teacher)
    if distil.features is not None:
        student, tapped = tap(model, teacher, distil.features, example(job.problem.spec, 1).to(device))
        placed(student.adapters, job.problem.params, device)
    own, other = job.problem.spec.preprocessing, spec.preprocessing
    alike = (own.mean, own.std) == (other.mean, other.std)
    taught = tapped if alike else Renormalised(tapped, own, other).to(device)
    return student, Teacher(taught.eval(), distil)


def _penalty(model: nn.Module, job: Job) -> Callable[[], None] | None:
    if job.problem.params.sparsity is None:
        return None
    from pipeline.train.methods.sparsity import (
        make_penalty,  # here, because torch-pruning takes seconds that other runs need not wait
    )

    return make_penalty(model, job.problem.spec, job.problem.params.sparsity)
