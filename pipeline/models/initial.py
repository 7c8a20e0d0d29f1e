"""Weights to start a network from instead of random ones (`model.init: file`)."""

import hashlib
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pipeline.errors import ArtifactError
from pipeline.models.nets.attention import unpacked_names

SHOWN = 3
"""Names that an error message lists at most."""


def read_tensors(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Raises ArtifactError if the file is missing, is not safetensors, or has another SHA-256 than is given."""
    try:
        content = path.read_bytes()
        if sha256 not in (None, hashlib.sha256(content).hexdigest()):
            raise ArtifactError(f"{path}: not the file that this run began with: damaged or exchanged; run the stage again")
        return safetensors.torch.load(content)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path}: not a readable safetensors file ({error}); bring it again: `espalier init`") from error


def fill(model: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Take over all weights and statistics. A head for other classes stays random: that is the last linear layer.

    Raises ArtifactError that names what the network and the file do not share.
    """
    own = model.state_dict()
    tensors = unpacked_names(tensors, own.keys())
    head = _head(model)
    differ = {name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape}
    left = {name for name in own if name.startswith(f"{head}.") and (name in differ or name not in tensors)}
    problems = {
        "lacks": sorted(own.keys() - tensors.keys() - left),
        "has, unlike the network,": sorted(name for name in tensors.keys() - own.keys() if not name.startswith(f"{head}.")),
        "has in another shape": sorted(differ - left),
    }
    for what, names in problems.items():
        if names:
            shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
            raise ArtifactError(f"{source}: {what} {shown}; it is of another network than model.name says")
    model.load_state_dict({name: own[name] if name in left else tensors[name] for name in own})


def _head(model: nn.Module) -> str:
    """The name of the last linear layer; of a network without one, a name that no tensor has."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return str(linear[-1]) if linear else "-"
