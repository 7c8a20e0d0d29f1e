"""Weights to start a network from instead of random ones (`model.init: file`)."""

import hashlib
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pipeline.errors import ArtifactError, listed
from pipeline.models.nets.attention import unpacked_names

MOST_NAMES = 3
"""Names that an error message lists at most."""
OTHER_NETWORK = (
    "it is of another network than model.name says; name that in the section `model`, with its "
    "width, or take other weights"
)


def read_tensors(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Raises ArtifactError if the file is missing, no safetensors, or has another SHA-256 than given."""
    try:
        content = path.read_bytes()
        if sha256 not in (None, hashlib.sha256(content).hexdigest()):
            raise ArtifactError(
                f"{path}: not the file that this run began with: damaged or exchanged; run the stage again"
            )
        return safetensors.torch.load(content)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"{path}: not a readable safetensors file ({error}); bring it again: `espalier weights`"
        ) from error


def fill(model: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Take over all weights and statistics. A head for other classes, the last linear layer, stays random.

    Raises ArtifactError that names what the network and the file do not share.
    """
    own = model.state_dict()
    unpacked = unpacked_names(tensors, own.keys())
    left, differences = _compare(model, unpacked)
    if differences:
        _, prefix = without_common_prefix(model, tensors)
        cure = (
            f"its names begin with {prefix!r}, which `espalier weights` takes off"
            if prefix
            else OTHER_NETWORK
        )
        raise ArtifactError(f"{source}: {differences}; {cure}")
    model.load_state_dict({name: own[name] if name in left else unpacked[name] for name in own})


def without_common_prefix(model: nn.Module, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The tensors without a common prefix of their names, if the network then takes them, and that prefix.

    Wrappers leave one (`module.` of DistributedDataParallel, `_orig_mod.` of torch.compile). Otherwise as
    they are, and "".
    """
    own, prefix, named = model.state_dict().keys(), "", tensors
    while len(first := {name.partition(".")[0] for name in named}) == 1 and all(
        "." in name for name in named
    ):
        prefix += f"{first.pop()}."
        named = {name.partition(".")[2]: tensor for name, tensor in named.items()}
        if not _compare(model, unpacked_names(named, own))[1]:
            return named, prefix
    return tensors, ""


def _compare(model: nn.Module, tensors: dict[str, Tensor]) -> tuple[set[str], str]:
    """What of the head stays random, and what else does not fit the network; an empty text if all fits."""
    own, head = model.state_dict(), f"{head_name(model)}."
    differ = {name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape}
    left = {name for name in own if name.startswith(head) and (name in differ or name not in tensors)}
    problems = {
        "lacks": sorted(own.keys() - tensors.keys() - left),
        "has, unlike the network,": sorted(
            name for name in tensors.keys() - own.keys() if not name.startswith(head)
        ),
        "has in another shape": sorted(differ - left),
    }
    return left, ", and ".join(
        f"{what} {listed(names, MOST_NAMES)}" for what, names in problems.items() if names
    )


def head_name(model: nn.Module) -> str:
    """The name of the last linear layer; of a network without one, a name that no tensor has."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return str(linear[-1]) if linear else "-"
