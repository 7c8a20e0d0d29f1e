"""The training loop: one function, `fit`, for train and finetune, run by every worker.

Letter: B batch.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.base.files import locked
from pipeline.data.augmentation.streams import stream_seed
from pipeline.data.prepared.batch import Batch
from pipeline.errors import StorageError, TrainingError
from pipeline.tracking.progress import ProgressWriter
from pipeline.train import ranks
from pipeline.train.bf16_rate import slow_bf16
from pipeline.train.checkpoints.saver import StepDecision
from pipeline.train.job import Job
from pipeline.train.methods.exact_elastic import Shards
from pipeline.train.methods.quantization_aware import schedule
from pipeline.train.optim import lr_factor, set_lr, waiting_factor
from pipeline.train.params import LOGICAL_SHARDS, Device
from pipeline.train.run import Run, check_origin, layout, open_run, origin, prepare_torch
from pipeline.train.sampling import epoch_batches
from pipeline.train.state import Progress
from pipeline.train.step import backward, train_step, update
from pipeline.train.transport.driver import fence
from pipeline.train.transport.result import save_result
from pipeline.train.transport.worker import outbox
from pipeline.train.validate import validate
from pipeline.watchdog import beat, rest

OLD_WRITER_WAIT_S = 30.0
"""How long a restarted rank 0 waits for the one before it to die."""


def never_leaving() -> bool:
    """Default of `leaving`: no one asks this worker to stop."""
    return False


def keep_beating(_run: Run) -> None:
    """Tell the watchdog of each step."""
    beat()


def fit(
    job: Job,
    device: Device,
    threads: int,
    leaving: Callable[[], bool] = never_leaving,
    *,
    at_step: Callable[[Run], None] = keep_beating,
    validate: Callable[[Run], dict[str, float]] = validate,
) -> bool:
    """Train from the newest checkpoint of `job.site.run_dir` to the end, and leave the result there.

    job: its inputs are on this node (arrival.arrive). leaving: asked about once a second. If it is True on
    any rank, all leave after a checkpoint of the step they are at. at_step: called before each step.
    validate: gives the metrics after an epoch. Returns whether the end was reached.
    Raises TrainingError for a setting that cannot work, before the first batch, and for one that diverges,
    StorageError if checkpoints cannot be written or the run's storage cannot be used, LockedError if the rank
    0 of an attempt before does not end.
    """
    prepare_torch(job, device, threads)
    with only_writer(job) if ranks.rank() == 0 else nullcontext(), outbox(job) as box:
        ranks.barrier()
        run = open_run(job, device, leaving)
        resume(run, f"{ranks.world_size()} workers x {threads} threads on {device}")
        if ranks.rank() == 0:
            run.note = "; ".join(filter(None, [run.note, slow_bf16(job.problem.params.amp, device)]))
        try:
            while not run.state.progress.done:
                loss = train_epoch(run, at_step)
                if loss is None:
                    return False
                record(run, loss, validate(run))
                checkpoint(run)
                if leaves_after_epoch(run):
                    return False
        finally:
            rest()
            run.augmentation.reader.close()
            run.saver.finish()
        # From here on no rank waits for another: rank 0 may have to be patient with a storage, longer than
        # they are with it.
        if ranks.rank() == 0:
            save_result(job, run.state, run.task, run.val)
            box.result()
        return True


def resume(run: Run, placement: str) -> None:
    """Go on from the newest checkpoint that verifies, else from the start. Notes where the run goes on.

    Raises TrainingError for a checkpoint of other inputs or of another version of a library, with which the
    run would end in weights that neither would give alone.
    """
    found = run.store.newest()
    if found:
        tensors, values = found
        check_origin(values.pop("origin", {}), origin(run.job.problem), run.store.folder)
        run.state.restore(tensors, values)
    _check_agreed(run)
    progress = run.state.progress
    run.reporter.rewind(progress.step)
    if progress.placements[-1:] != [placement]:
        run.note = _moved(run, placement)
        progress.placements.append(placement)
    run.saver.start(progress.step)


def _moved(run: Run, placement: str) -> str:
    """What to say of a run that goes on elsewhere than where its checkpoint was made."""
    progress = run.state.progress
    if not progress.placements:
        return ""
    before = progress.placements[-1]
    # With exact_elastic only the number of workers, which comes first, may change.
    same = (
        run.job.problem.params.exact_elastic and before.partition(" x ")[2] == placement.partition(" x ")[2]
    )
    bits = "by exact_elastic stay the same" if same else "are from here on those of the new placement"
    return (
        f"goes on from step {progress.step} with {placement}, after {before}; the weights' last bits {bits}"
    )


def _check_agreed(run: Run) -> None:
    """Raise StorageError on every rank if they found different checkpoints, and would train past each other.

    In a storage an old rank 0, cut off and given up, may still add or remove one while the new ranks look.
    """
    step = run.state.progress.step
    same = torch.tensor(step == ranks.from_first(step, run.device), dtype=torch.int64, device=run.device)
    if not int(ranks.all_min(same)):
        raise StorageError(
            "the workers found different checkpoints, because one came or went meanwhile; they look again"
        )


def train_epoch(run: Run, at_step: Callable[[Run], None] = keep_beating) -> float | None:
    """The steps that are left of an epoch.

    Returns its mean training loss per image, None if the ranks leave before.
    """
    params, progress = run.job.problem.params, run.state.progress
    batches = epoch_batches(len(run.train), params.global_batch_size, params.seed, progress.epoch, run.strata)
    writer = ProgressWriter(
        run.job.site.run_dir, epochs=params.epochs, steps=run.num_steps, first_step=progress.step
    )
    writer.note = run.note
    writer.validation = _val_words(progress.history[-1] if progress.history else {})
    coming = batches[progress.batch :]
    parts = (part for rows in coming for part in rank_parts(run, rows).values())
    run.augmentation.expect(parts, progress.epoch)
    for rows in coming:
        at_step(run)
        if params.quantization_aware:
            for model in {run.state.model, run.state.deployed}:
                schedule(model, progress.step, run.num_steps, params.quantization_aware)
        set_rates(run)
        loss = exact_step(run, run.shards, rows) if run.shards else ddp_step(run, rows)
        if run.state.ema:
            run.state.ema.update(progress.step)
        run.state.add_loss(loss)
        progress.step += 1
        progress.batch += 1
        progress.seen += len(rows)
        if (writer.due(len(rows)) or progress.batch == len(batches)) and ranks.rank() == 0:
            writer.write(epoch=progress.epoch + 1, step=progress.step, loss=_shown_loss(run))
        if run.saver.due(progress.step) and progress.batch < len(batches) and agree_with_ranks(run).leave:
            return None
    check_finite(run)
    if writer.images_per_s:
        run.reporter.metrics({"images_per_s": writer.images_per_s}, step=progress.step)
    mean = float(ranks.all_sum(run.state.loss_sum.clone())) / progress.seen
    progress.epoch, progress.batch, progress.seen = progress.epoch + 1, 0, 0
    run.state.loss_sum.zero_()
    return mean


def set_rates(run: Run) -> None:
    """Set the learning rates of the step that comes."""
    params, step = run.job.problem.params, run.state.progress.step
    factor = lr_factor(step, run.num_steps, params.schedule)
    waiting = waiting_factor(step, run.num_steps, run.num_waiting, params.schedule)
    set_lr(run.state.optimizer, params.optimizer.lr * factor, params.optimizer.lr * waiting)


def agree_with_ranks(run: Run) -> StepDecision:
    """Agree with all ranks on what to do at this step, and make the checkpoint if that is it."""
    decision = run.saver.agree(run.state.progress.step, leaving=run.leaving())
    if decision.save:
        checkpoint(run)
    return decision


def leaves_after_epoch(run: Run) -> bool:
    """Whether all ranks leave now, after an epoch's checkpoint, if there is more to do."""
    progress, saver = run.state.progress, run.saver
    return (
        not progress.done
        and saver.due(progress.step)
        and saver.agree(progress.step, leaving=run.leaving()).leave
    )


def ddp_step(run: Run, rows: Tensor) -> Tensor:
    """Every rank computes its share of the batch, and DDP averages the gradients.

    Returns this rank's sum of losses.
    """
    params = run.job.problem.params
    _seed_networks(run, ranks.rank())
    mine = make_batch(run, rank_parts(run, rows)[ranks.rank()])
    cuts = torch.arange(mine.size).tensor_split(params.accumulate)
    parts = [mine.part(positions) for positions in cuts] if len(cuts) > 1 else [mine]
    scale = mean_scale(run, {ranks.rank(): mine}, ranks.world_size(), len(rows), factor=ranks.world_size())
    return train_step(run.net, run.state.optimizer, run.state.scaler, parts, run.recipe, scale)


def exact_step(run: Run, shards: Shards, rows: Tensor) -> Tensor:
    """Every rank computes its logical shards of the batch.

    Returns the sum of all losses on rank 0, and 0 elsewhere.
    """
    batches = {number: make_batch(run, part) for number, part in rank_parts(run, rows).items()}
    scale = mean_scale(run, batches, LOGICAL_SHARDS, len(rows))
    shards.begin_step()
    for number, batch in batches.items():
        _seed_networks(run, number)
        shards.begin_shard()
        shards.end_shard(number, backward(run.net, run.state.scaler, batch, run.recipe, scale))
    loss = shards.end_step()
    update(run.net, run.state.optimizer, run.state.scaler, run.recipe)
    return loss if ranks.rank() == 0 else torch.zeros_like(loss)


def rank_parts(run: Run, rows: Tensor) -> dict[int, Tensor]:
    """The rows of a global batch that this rank computes: its share, by rank, or its logical shards, by
    number.
    """
    if not run.shards:
        return {ranks.rank(): rows[ranks.shard(len(rows))]}
    parts = rows.tensor_split(LOGICAL_SHARDS)
    return {number: parts[number] for number in range(*ranks.shard(LOGICAL_SHARDS).indices(LOGICAL_SHARDS))}


def _seed_networks(run: Run, part: int) -> None:
    """Random numbers that networks draw, for dropout and the like, a function of (seed, step, part)."""
    seed = stream_seed("step", run.job.problem.params.seed, run.state.progress.step, part)
    # Not torch.manual_seed, which goes through every kind of device: 0.1 ms of every step.
    torch.default_generator.manual_seed(seed)
    if run.device == "cuda":
        torch.cuda.default_generators[torch.cuda.current_device()].manual_seed(seed)


def mean_scale(
    run: Run, parts: Mapping[int, Batch], num_parts: int, num_samples: int, factor: int = 1
) -> float | Tensor:
    """What a sum of losses is multiplied by for `factor` x the mean over a global batch.

    parts: those that this rank computes, by number. Weights of samples are added in the order of the parts,
    so that the number of ranks changes no bit.
    """
    weights = {number: run.task.weights(part.targets) for number, part in parts.items()}
    if all(weight is None for weight in weights.values()):
        return factor / num_samples
    table = torch.zeros(num_parts, dtype=torch.float64, device=run.device)
    for number, weights_B in weights.items():
        table[number] = 0.0 if weights_B is None else weights_B.sum()
    return (factor / ranks.all_sum(table).sum()).float()


def make_batch(run: Run, rows: Tensor) -> Batch:
    """Augmented and preprocessed samples on the run's device, in the memory format of the network."""
    batch = run.augmentation.batch(rows, run.state.progress.epoch, run.device)
    form = layout(run.job.problem.params)
    inputs = {name: images.contiguous(memory_format=form) for name, images in batch.inputs.items()}
    return replace(batch, inputs=inputs)


def record(run: Run, loss: float, metrics: dict[str, float]) -> None:
    """Note an epoch's results, keep the best weights, and decide whether to stop.

    Raises TrainingError, on every rank, for a result that is not finite.
    """
    progress, params = run.state.progress, run.job.problem.params
    lr = params.optimizer.lr * lr_factor(progress.step - 1, run.num_steps, params.schedule)
    values = {"lr": lr, "train/loss": loss} | {f"val/{name}": value for name, value in metrics.items()}
    if wrong := [name for name, value in values.items() if not math.isfinite(value)]:
        raise diverged(progress, f"{wrong[0]} is", progress.step)
    progress.history.append({"epoch": progress.epoch, "step": progress.step} | values)
    run.reporter.metrics(values, step=progress.step)
    score = metrics["score"]
    if progress.best is None or (score, -metrics["loss"]) > (progress.best, -progress.best_loss):
        progress.best, progress.best_loss, progress.epochs_since_best = score, metrics["loss"], 0
        run.state.keep_best()
    else:
        progress.epochs_since_best += 1
    out_of_patience = params.patience is not None and progress.epochs_since_best >= params.patience
    progress.done = progress.epoch == params.epochs or out_of_patience


def checkpoint(run: Run) -> None:
    """Keep the state after the last step, on rank 0; every rank takes part: each holds a part of the loss.

    Raises TrainingError, on every rank, if the state is not finite: a run that went on from it would be lost
    for good.
    """
    run.state.check()
    check_finite(run)
    losses = ranks.gather_ranks(run.state.loss_sum)
    if ranks.rank() == 0:
        run.saver.save(
            run.state.progress.step,
            run.state.tensors(losses),
            run.state.values() | {"origin": origin(run.job.problem)},
        )


def check_finite(run: Run) -> None:
    """Raise on every rank if any rank noted something that is not finite; no checkpoint holds it."""
    progress, first_bad = run.state.progress, run.state.first_bad
    never = progress.step + 1
    step = int(ranks.all_min(torch.where(first_bad >= 0, first_bad, torch.full_like(first_bad, never))))
    if step < never:
        raise diverged(
            progress, "the loss is" if step < progress.step else "the state after the last update is", step
        )


def diverged(progress: Progress, what: str, step: int) -> TrainingError:
    return TrainingError(
        f"{what} not finite at step {step} (epoch {progress.epoch_of_last_batch}); the weights before it are "
        "kept. Lower optimizer.lr, lengthen schedule.warmup, set grad_clip, or use amp: bf16 or off"
    )


def _shown_loss(run: Run) -> float:
    """Mean loss of the epoch so far; with DDP of rank 0's images, which stand for all."""
    num_ranks = 1 if run.shards else ranks.world_size()
    return float(run.state.loss_sum) * num_ranks / run.state.progress.seen


@contextmanager
def only_writer(job: Job, wait_s: float = OLD_WRITER_WAIT_S) -> Iterator[None]:
    """The right of rank 0 to write checkpoints; an earlier one must be dead, or fenced, before a new one
    starts.

    wait_s: how long it may still take to die. Raises LockedError if it does not.
    """
    with locked(job.site.run_dir / "writer.lock", wait_s=wait_s, what="the training worker before this one"):
        if job.site.storage:
            fence(job).take()
        yield


def _val_words(values: dict[str, float]) -> str:
    score = values.get("val/score")
    return "" if score is None else f"val score {score:.4f}"
