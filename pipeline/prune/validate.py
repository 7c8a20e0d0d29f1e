"""Metrics of a torch model on a split, between two steps of compression."""

import torch
from torch import nn

from pipeline.data.prepared.reader import Preprocess, Split
from pipeline.models.description.spec import ModelSpec
from pipeline.models.nets.outputs import answer
from pipeline.tasks.training.task import Task


def split_metrics(
    model: nn.Module, spec: ModelSpec, split: Split, batch_size: int, task: Task
) -> dict[str, float]:
    """The task's metrics over a whole split, in eval mode; sums are divided once."""
    preprocess = Preprocess(spec.preprocessing.mean, spec.preprocessing.std)
    sums: dict[str, float] = {}
    with torch.no_grad():
        for rows in torch.split(torch.arange(len(split)), batch_size):
            batch = preprocess(split.batch(rows, "cpu"))
            outputs = answer(model.eval(), batch.inputs, spec.outputs)
            for name, value in task.sums(outputs, batch.targets).items():
                sums[name] = sums.get(name, 0.0) + float(value)
    return task.metrics(sums)
