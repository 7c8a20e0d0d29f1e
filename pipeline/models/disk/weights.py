"""A torch model on disk: the network that model.json describes, and its tensors as safetensors."""

import hashlib
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pipeline.base.files import atomic_dir
from pipeline.errors import ArtifactError
from pipeline.models.description.spec import WEIGHTS_NAME, ModelSpec, WeightsFile
from pipeline.models.disk.artifact import SPEC_NAME, checked_bytes, read_spec, weights_file, write_spec
from pipeline.models.disk.sparse import compact, expand
from pipeline.models.nets.build import rebuild


def save_model(folder: Path, spec: ModelSpec, model: nn.Module) -> ModelSpec:
    """Write a model whole or not at all; returns the spec with its weights' digest.

    Equal models give equal bytes. Raises ArtifactError, and writes nothing, if `model` is not the network
    that `spec` describes, because it could never be loaded again.
    """
    tensors = _tensors(model)
    _fill(rebuild(spec), tensors, "the model to be saved")
    content = safetensors.torch.save(compact(tensors, spec.sparse))
    weights = WeightsFile(
        kind="torch", file=WEIGHTS_NAME, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)
    )
    saved = spec.model_copy(update={"weights": weights})
    with atomic_dir(folder) as partial:
        (partial / WEIGHTS_NAME).write_bytes(content)
        write_spec(partial, saved)
    return saved


def load_model(folder: Path) -> tuple[ModelSpec, nn.Module]:
    """The rebuilt model, in eval mode on the CPU.

    Raises ArtifactError that names the file if one is missing, corrupt, of an unknown format, an ONNX graph,
    or does not fit the network.
    """
    spec = read_spec(folder)
    path = folder / WEIGHTS_NAME
    content = checked_bytes(path, weights_file(folder, spec, "torch"))
    try:
        packed = safetensors.torch.load(content)
    except SafetensorError as error:
        raise ArtifactError(f"{path}: not a safetensors file ({error})") from error
    model = rebuild(spec)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    try:
        tensors = expand(packed, spec.sparse, shapes)
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}") from error
    _fill(model, tensors, str(path))
    return spec, model.eval()


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by sorted name, in row-major order whatever their memory format.

    Each is a copy of its own: safetensors refuses tensors that share memory. Tied weights are written
    once per name and stay tied when loaded, because the rebuilt network ties them.
    """
    return {
        name: tensor.detach().cpu().clone().contiguous()
        for name, tensor in sorted(model.state_dict().items())
    }


def _fill(model: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(
            f"{source}: its weights do not fit the network that {SPEC_NAME} describes: {reason}"
        ) from error
