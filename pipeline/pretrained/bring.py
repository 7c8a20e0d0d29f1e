"""`espalier weights`: bring weights to start from, or a teacher, into data/; no stage needs the network.

A stage whose result depends on what a server holds today could not be repeated; a file that DVC knows by its
content can.
"""

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from pipeline.base.files import to_json, write_atomic
from pipeline.base.params import parse_section
from pipeline.base.yaml_file import read_yaml
from pipeline.data.intake.params import DataParams
from pipeline.errors import ArtifactError, ParamsError, UnreachableError
from pipeline.models.description.params import ModelParams
from pipeline.models.description.spec import WEIGHTS_NAME, Architecture
from pipeline.models.disk.artifact import SPEC_NAME
from pipeline.models.disk.weights import load_model
from pipeline.models.nets.build import build
from pipeline.pretrained.registered import registered_model
from pipeline.train.initial import fill, read_tensors, without_common_prefix
from pipeline.train.job import INIT_FOLDER, ORIGIN_NAME, TEACHER_FOLDER, Origin

PRETRAINED = "pretrained"
REGISTERED = "models:/"
MORE_THAN_ONE = 2
"""Classes of a network whose head does not count."""


def bring(source: str, root: Path, values: Mapping[str, Any] | None = None) -> str:
    """Fill data/init from `pretrained` (model.name of timm or torchvision), models:/<name>@<alias> or a file.

    values: of params.yaml, by itself those that it has. Returns what to do next. Raises ParamsError,
    ArtifactError and UnreachableError, and then leaves data/init as it was.
    """
    sections = values or read_yaml(root / "params.yaml")
    model, data = (
        parse_section("model", sections["model"], ModelParams),
        parse_section("data", sections["data"], DataParams),
    )
    if source == PRETRAINED:
        tensors, origin = _pretrained(model.name, data.channels), f"{PRETRAINED} {model.name}"
    elif source.startswith(REGISTERED):
        with registered_model(source, root) as found:
            tensors, origin = read_tensors(found / WEIGHTS_NAME), source
    else:
        path = Path(source) / WEIGHTS_NAME if Path(source).is_dir() else Path(source)
        tensors, origin = read_tensors(path), path.name
    tensors, prefix = _fitting(tensors, model, data, origin)
    content = safetensors.torch.save(
        {name: tensor.clone().contiguous() for name, tensor in sorted(tensors.items())}
    )
    folder = root / INIT_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / WEIGHTS_NAME, content)
    _write_origin(folder, origin, hashlib.sha256(content).hexdigest())
    millions = sum(tensor.numel() for tensor in tensors.values()) / 1e6
    taken_off = f", without the {prefix!r} that its names began with" if prefix else ""
    return (
        f"{folder / WEIGHTS_NAME}: {millions:.1f} M parameters from {origin}{taken_off}; `model.init: file` "
        "trains from them"
    )


def _fitting(
    tensors: dict[str, Tensor], model: ModelParams, data: DataParams, origin: str
) -> tuple[dict[str, Tensor], str]:
    """The tensors by the names of the network that `model` describes, and the prefix that they had.

    Raises ArtifactError if they are of another network. The classes of the data may not be known yet: the
    network gets as many as the weights are for.
    """

    def network(num_outputs: int) -> nn.Module:
        image = {"channels": data.channels, "image_height": data.height, "image_width": data.width}
        named = model.model_dump(exclude={"init"})
        return build(Architecture.model_validate(named | image | {"num_outputs": num_outputs}))

    last = list(network(MORE_THAN_ONE).state_dict())[-1]
    heads = [
        len(tensor) for name, tensor in tensors.items() if f".{name}".endswith(f".{last}") and tensor.ndim
    ]
    own = network(heads[0] if heads else MORE_THAN_ONE)
    tensors, prefix = without_common_prefix(own, tensors)
    fill(own, tensors, origin)
    return tensors, prefix


def bring_teacher(source: str, root: Path) -> str:
    """Fill data/teacher from models:/<name>@<alias> or a model folder, once it is known to load.

    Returns what to do next. Raises ArtifactError and UnreachableError, and then leaves data/teacher as it
    was.
    """
    registered = source.startswith(REGISTERED)
    with registered_model(source, root) if registered else nullcontext(Path(source)) as found:
        spec, _ = load_model(found)
        folder = root / TEACHER_FOLDER
        for name in (WEIGHTS_NAME, SPEC_NAME):
            write_atomic(folder / name, (found / name).read_bytes())
    origin = source if registered else found.name
    _write_origin(folder, origin, spec.digest)
    return (
        f"{folder}: {spec.architecture.name} from {origin}; `teacher: file` in finetune.distil learns from it"
    )


def _write_origin(folder: Path, source: str, sha256: str) -> None:
    write_atomic(folder / ORIGIN_NAME, to_json(Origin(source=source, sha256=sha256).model_dump()))


def _pretrained(name: str, channels: int) -> dict[str, Tensor]:
    library, _, network = name.partition("/")
    readers = {"timm": _of_timm, "torchvision": _of_torchvision}
    if library not in readers:
        raise ParamsError(
            f"model.name is {name!r}, and only timm/<name> and torchvision/<name> come with pretrained "
            "weights"
        )
    try:
        return readers[library](network, channels)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UnreachableError(f"no pretrained weights of {name} could be fetched ({reason})") from error


def _of_timm(name: str, channels: int) -> dict[str, Tensor]:
    """timm sums or repeats the first layer's weights for other channels than three."""
    import timm

    weights: dict[str, Tensor] = timm.create_model(name, pretrained=True, in_chans=channels).state_dict()
    return weights


def _of_torchvision(name: str, channels: int) -> dict[str, Tensor]:
    from torchvision import models

    if channels != 3:
        raise ArtifactError(
            f"torchvision's weights take 3 channels, but data.channels is {channels}; take timm/<name>"
        )
    default = models.get_model_weights(name)["DEFAULT"]
    weights: dict[str, Tensor] = default.get_state_dict(check_hash=True, weights_only=True, progress=False)
    return weights
