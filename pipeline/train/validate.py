"""Answers to the validation split: the deployed weights', each rank on its part, and the final ones'."""

import torch
from torch import nn

from pipeline.data.prepared.batch import Tensors
from pipeline.data.prepared.reader import Preprocess, Split
from pipeline.models.description.spec import ModelSpec
from pipeline.models.nets.outputs import answer
from pipeline.train import ranks
from pipeline.train.run import Run
from pipeline.watchdog import beat

BATCH_SIZE = 128


@torch.no_grad()
def validate(run: Run) -> dict[str, float]:
    """Metrics of the task.

    Each batch's sums are a row that one rank fills in; every rank adds the rows in their order.
    """
    model = run.state.deployed.eval()
    ranks.broadcast_buffers(model)
    names = run.task.sum_names
    batches = torch.arange(len(run.val)).split(BATCH_SIZE)  # type: ignore[no-untyped-call]
    table = torch.zeros(len(batches), len(names), dtype=torch.float64, device=run.device)
    for number in range(*ranks.shard(len(batches)).indices(len(batches))):
        beat()
        batch = run.preprocess(run.val.batch(batches[number], run.device))
        with run.autocast():
            outputs = answer(model, batch.inputs, run.recipe.outputs)
        sums = run.task.sums(outputs, batch.targets)
        table[number] = torch.stack([sums[name] for name in names])
    run.to_training()
    total: list[float] = [sum(column) for column in ranks.all_sum(table).T.tolist()]
    return run.task.metrics(dict(zip(names, total, strict=True)))


@torch.no_grad()
def split_outputs(model: nn.Module, spec: ModelSpec, split: Split) -> Tensors:
    """What a model on the CPU answers to a whole split, by output."""
    preprocess = Preprocess(spec.preprocessing.mean, spec.preprocessing.std)
    parts = []
    for rows in torch.arange(len(split)).split(BATCH_SIZE):  # type: ignore[no-untyped-call]
        beat()
        parts.append(answer(model.eval(), preprocess(split.batch(rows, "cpu")).inputs, spec.outputs))
    return {name: torch.cat([part[name] for part in parts]) for name in spec.outputs}
