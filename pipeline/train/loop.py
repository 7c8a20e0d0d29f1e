"""The training loop: one function, `fit`, for train and finetune, run by every worker.

Letters: B batch, C channels, H height, W width.
"""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel

from pipeline import dist
from pipeline.data.augment import augment, draw, normalise
from pipeline.data.reader import Split
from pipeline.errors import TrainingError
from pipeline.files import locked
from pipeline.models.build import rebuild
from pipeline.models.weights import load_model
from pipeline.report import Journal, NullReporter, Reporter
from pipeline.tasks.task import Task, make_task
from pipeline.train.checkpoint import Store
from pipeline.train.job import Device, Job
from pipeline.train.optim import Ema, lr_factor, make_optimizer, set_lr
from pipeline.train.order import check_batches, epoch_batches, mix, num_batches
from pipeline.train.params import FitParams
from pipeline.train.progress import ProgressWriter
from pipeline.train.result import save_result
from pipeline.train.state import State
from pipeline.train.step import Batch, Teacher, train_step

EVAL_BATCH_SIZE = 512
OLD_WRITER_WAIT_S = 30.0
"""How long a restarted rank 0 waits for the one before it to die."""


@dataclass
class Run:
    """What one rank holds during a run. `net` is what a step calls: the model, wrapped in DDP among several ranks."""

    job: Job
    device: Device
    task: Task
    train: Split
    val: Split
    mean: Tensor
    std: Tensor
    net: nn.Module
    state: State
    teacher: Teacher | None
    store: Store
    reporter: Reporter

    @property
    def num_steps(self) -> int:
        return self.job.params.epochs * num_batches(len(self.train), self.job.params.global_batch_size)


def fit(job: Job, device: Device, threads: int) -> None:
    """Train from the newest checkpoint of `job.run_dir` to the end, and leave the result there.

    Raises TrainingError for a setting that cannot work, before the first batch, and for a loss that is not finite.
    """
    prepare_torch(job, device, threads)
    with _only_writer(job):
        dist.barrier()
        run = open_run(job, device)
        resume(run, f"{dist.world_size()} workers x {threads} threads on {device}")
        while not run.state.progress.done:
            loss = train_epoch(run)
            metrics = validate(run)
            record(run, loss, metrics)
            if dist.rank() == 0:
                run.store.save(run.state.progress.step, run.state.tensors(), run.state.values())
        if dist.rank() == 0:
            save_result(job, run.state)
        dist.barrier()


def prepare_torch(job: Job, device: Device, threads: int) -> None:
    """Fix what changes the last bit of a result: threads, kernels, the random start."""
    if job.params.amp == "fp16" and device == "cpu":
        raise TrainingError("amp is fp16, which needs a CUDA device, but this run is on the CPU; use bf16 or off")
    torch.set_num_threads(threads)
    if device == "cuda":
        torch.backends.cudnn.deterministic = True
    torch.manual_seed(job.params.seed)


def open_run(job: Job, device: Device) -> Run:
    params = job.params
    train, val = Split.open(job.data, "train"), Split.open(job.data, "val")
    check_batches(len(train), params.global_batch_size, dist.world_size(), params.accumulate)
    if len(val) < dist.world_size():
        raise TrainingError(f"{dist.world_size()} workers, but only {len(val)} validation images; lower resources.workers")
    model = _placed(load_model(job.initial)[1] if job.initial else rebuild(job.spec), params, device).train()
    ema = Ema(model, averaged := copy.deepcopy(model).eval(), params.ema_decay) if params.ema_decay else None
    if ema:
        averaged.requires_grad_(requires_grad=False)
    scaler = GradScaler(device, enabled=params.amp == "fp16")
    state = State(model, make_optimizer(model, params.optimizer), scaler, ema)
    return Run(
        job=job,
        device=device,
        task=make_task(job.task),
        train=train,
        val=val,
        mean=torch.tensor(job.spec.mean, device=device),
        std=torch.tensor(job.spec.std, device=device),
        net=DistributedDataParallel(model, gradient_as_bucket_view=True) if dist.world_size() > 1 else model,
        state=state,
        teacher=_open_teacher(job, device),
        store=Store(job.run_dir / "checkpoints"),
        reporter=Journal(job.journal) if dist.rank() == 0 else NullReporter(),
    )


def resume(run: Run, placement: str) -> None:
    """Go on from the newest checkpoint that verifies; without one, from the start. Notes where the run goes on."""
    checkpoint = run.store.newest()
    if checkpoint:
        run.state.restore(*checkpoint)
    progress = run.state.progress
    run.reporter.rewind(progress.step)
    if placement not in progress.placements:
        progress.placements.append(placement)


def train_epoch(run: Run) -> float:
    """All steps of the next epoch. Returns the mean training loss per image."""
    job, params, progress = run.job, run.job.params, run.state.progress
    batches = epoch_batches(len(run.train), params.global_batch_size, params.seed, progress.epoch)
    writer = ProgressWriter(job.run_dir, epochs=params.epochs, steps=run.num_steps, first_step=progress.step)
    writer.validation = _val_words(progress.history[-1] if progress.history else {})
    loss_sum = torch.zeros((), device=run.device)
    first_bad = torch.full((), -1, device=run.device)
    num_seen = 0
    for rows in batches:
        set_lr(run.state.optimizer, params.optimizer.lr * lr_factor(progress.step, run.num_steps, params.schedule))
        torch.manual_seed(mix("step", params.seed, progress.step, dist.rank()))
        step_loss = train_step(
            run.net,
            run.state.optimizer,
            run.state.scaler,
            list(_parts(run, rows)),
            loss=run.task.loss,
            scale=dist.world_size() / len(rows),
            autocast=_autocast(run),
            teacher=run.teacher,
            grad_clip=params.grad_clip,
        )
        if run.state.ema:
            run.state.ema.update(progress.step)
        # No .item() here: the first step without a finite loss is found by tensor operations alone.
        first_bad = torch.where((first_bad < 0) & ~torch.isfinite(step_loss), progress.step, first_bad)
        loss_sum += step_loss
        num_seen += len(rows)
        progress.step += 1
        last = num_seen == len(run.train)
        if (writer.due(len(rows)) or last) and dist.rank() == 0:
            writer.write(epoch=progress.epoch + 1, step=progress.step, loss=float(loss_sum) * dist.world_size() / num_seen)
    progress.epoch += 1
    _check_finite(run, first_bad)
    run.reporter.metrics({"images_per_s": writer.images_per_s}, step=progress.step)
    return float(dist.all_sum(loss_sum)) / num_seen


@torch.no_grad()
def validate(run: Run) -> dict[str, float]:
    """Metrics of the deployed weights on the validation split, each rank on its part, sums added over ranks."""
    model = run.state.deployed.eval()
    dist.broadcast_buffers(model)
    mine = dist.shard(len(run.val))
    totals: dict[str, Tensor] = {}
    for rows in torch.arange(mine.start, mine.stop).split(EVAL_BATCH_SIZE):  # type: ignore[no-untyped-call]
        images = normalise(run.val.images(rows).to(run.device), run.mean, run.std)
        with _autocast(run):
            logits_BK = model(images)
        for name, value in run.task.sums(logits_BK, run.val.labels[rows].to(run.device)).items():
            totals[name] = totals[name] + value if name in totals else value
    run.state.model.train()
    sums = dist.all_sum(torch.stack([totals[name] for name in sorted(totals)])).tolist()
    return run.task.metrics(dict(zip(sorted(totals), sums, strict=True)))


def record(run: Run, loss: float, metrics: dict[str, float]) -> None:
    """Note an epoch's results, keep the best weights, and decide whether to stop."""
    progress, params = run.state.progress, run.job.params
    lr = run.state.optimizer.param_groups[0]["lr"]
    values = {"lr": lr, "train/loss": loss} | {f"val/{name}": value for name, value in metrics.items()}
    progress.history.append({"epoch": progress.epoch, "step": progress.step} | values)
    run.reporter.metrics(values, step=progress.step)
    objective = metrics[run.task.objective]
    if progress.best is None or (objective, -metrics["loss"]) > (progress.best, -progress.best_loss):
        progress.best, progress.best_loss, progress.epochs_since_best = objective, metrics["loss"], 0
        run.state.keep_best()
    else:
        progress.epochs_since_best += 1
    out_of_patience = params.patience is not None and progress.epochs_since_best >= params.patience
    progress.done = progress.epoch == params.epochs or out_of_patience


def _parts(run: Run, rows: Tensor) -> Iterator[Batch]:
    """This rank's share of a global batch, augmented, in `accumulate` parts.

    Random draws are made for the whole global batch, so that every image is augmented alike whatever the
    number of workers.
    """
    params = run.job.params
    generator = torch.Generator().manual_seed(mix("augment", params.seed, run.state.progress.step))
    draws = draw(len(rows), params.augment, generator)
    mine = dist.shard(len(rows))
    images = augment(run.train.images(rows[mine]).to(run.device), draws.slice(mine))
    labels = run.train.labels[rows[mine]].to(run.device)
    for part in torch.arange(len(labels)).tensor_split(params.accumulate):
        yield Batch(normalise(images[part], run.mean, run.std).contiguous(memory_format=_layout(params)), labels[part])


def _layout(params: FitParams) -> torch.memory_format:
    return torch.channels_last if params.channels_last else torch.contiguous_format


def _placed(model: nn.Module, params: FitParams, device: Device) -> nn.Module:
    return model.to(device=device, memory_format=_layout(params))  # type: ignore[call-overload, no-any-return]


def _open_teacher(job: Job, device: Device) -> Teacher | None:
    if job.params.distil is None:
        return None
    if job.teacher is None:
        raise TrainingError("this stage has no model to distil from; set its `distil` to null")
    return Teacher(_placed(load_model(job.teacher)[1], job.params, device).eval(), job.params.distil)


def _autocast(run: Run) -> torch.autocast:
    amp = run.job.params.amp
    return torch.autocast(run.device, dtype=torch.float16 if amp == "fp16" else torch.bfloat16, enabled=amp != "off")


def _check_finite(run: Run, first_bad: Tensor) -> None:
    """Raise on every rank where any rank's loss was not finite; no checkpoint holds what came after it."""
    highest = run.state.progress.step
    bad = first_bad if first_bad >= 0 else torch.full_like(first_bad, highest)
    step = int(dist.all_min(bad))
    if step < highest:
        raise TrainingError(
            f"the loss is not finite at step {step} (epoch {run.state.progress.epoch}); the weights of the epoch before are "
            "kept. Lower optimizer.lr, lengthen schedule.warmup, set grad_clip, or use amp: bf16 or off"
        )


def _only_writer(job: Job) -> AbstractContextManager[None]:
    """Rank 0 writes checkpoints; a late rank 0 of an attempt before must be dead before a new one starts."""
    if dist.rank() != 0:
        return nullcontext()
    return locked(job.run_dir / "writer.lock", wait_s=OLD_WRITER_WAIT_S, what="the training worker before this one")


def _val_words(values: dict[str, float]) -> str:
    return f"val top1 {values['val/top1']:.4f}" if "val/top1" in values else ""
