"""Another, smaller network in place of a pruned one, which learns from the dense one in fine-tuning."""

import torch
from torch import nn

from pipeline.data.prepared.reader import Preprocess, Split
from pipeline.models.description.params import NetworkParams
from pipeline.models.description.spec import Architecture, ModelSpec
from pipeline.models.nets.build import build
from pipeline.models.nets.whitening import WHITENED_IMAGES, fit_whitening


def new_student(
    dense: ModelSpec, network: NetworkParams, train: Split, seed: int
) -> tuple[ModelSpec, nn.Module]:
    """The untrained network for dense's images and classes, in eval mode, and its spec, a child of dense.

    Raises ParamsError if there is no such network.
    """
    sizes = dense.architecture.model_dump(exclude=set(NetworkParams.model_fields))
    architecture = Architecture(**network.model_dump(), **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(architecture)
    first = torch.arange(min(len(train), WHITENED_IMAGES))
    preprocess = Preprocess(dense.preprocessing.mean, dense.preprocessing.std)
    fit_whitening(model, *preprocess(train.batch(first, "cpu")).inputs.values())
    ancestors = {**dense.ancestors, "dense": dense.digest}
    spec = dense.model_copy(
        update={"architecture": architecture, "plan": {}, "ancestors": ancestors, "provenance": {}}
    )
    return spec, model.eval()
