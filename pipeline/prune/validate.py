"""Metrics of a torch model on a split, between two steps of compression. Letters: B batch, C, H, W."""

import torch
from torch import nn

from pipeline.data.prepared.reader import Split, normalise
from pipeline.models.description.spec import ModelSpec
from pipeline.tasks.task import Task


def split_metrics(
    model: nn.Module, spec: ModelSpec, split: Split, batch_size: int, task: Task
) -> dict[str, float]:
    """The task's metrics over a whole split, in eval mode; sums are divided once."""
    mean, std = torch.tensor(spec.preprocessing.mean), torch.tensor(spec.preprocessing.std)
    labels = split.labels
    sums: dict[str, float] = {}
    with torch.no_grad():
        for indices in torch.split(torch.arange(len(split)), batch_size):
            logits_BK = model.eval()(normalise(split.images(indices), mean, std))
            for name, value in task.sums(logits_BK, labels[indices]).items():
                sums[name] = sums.get(name, 0.0) + float(value)
    return task.metrics(sums)
