"""The deployed weights on the validation split, each rank on its part; equal bits for any number."""

import torch

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
