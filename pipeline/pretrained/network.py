"""Which network weights are of, found out by the names and shapes of their tensors."""

import json
from pathlib import Path

from pipeline.errors import ArtifactError, ParamsError
from pipeline.models.description.params import ADAPTED
from pipeline.models.description.spec import WEIGHTS_NAME, Architecture
from pipeline.models.nets.build import build
from pipeline.train.initial import fill, read_tensors, without_common_prefix
from pipeline.train.job import ORIGIN_NAME

USUAL = (
    "timm/tf_efficientnet_lite0",
    "timm/mobilenetv2_100",
    "torchvision/mobilenet_v2",
    "torchvision/resnet18",
    "torchvision/resnet50",
    "timm/resnet18",
    "timm/resnet50",
)
"""Networks that are tried beside the one that a file is called after, smaller ones first."""
WEIGHTS_PIXELS = 224
WEIGHTS_CHANNELS = 3


def network_of(path: Path) -> str | None:
    """The model.name of a safetensors file, or of a folder with one; None if it is of none that is tried.

    Raises ArtifactError if it cannot be read.
    """
    file = path / WEIGHTS_NAME if path.is_dir() else path
    tensors = read_tensors(file)
    for name in dict.fromkeys([*_called(file), *USUAL]):
        try:
            model = build(
                Architecture(
                    name=name,
                    width=None,
                    dropout=0.0,
                    stochastic_depth=0.0,
                    num_outputs=2,
                    channels=WEIGHTS_CHANNELS,
                    image_height=WEIGHTS_PIXELS,
                    image_width=WEIGHTS_PIXELS,
                )
            )
            fill(model, without_common_prefix(model, tensors)[0], file.name)
        except (ArtifactError, ParamsError):
            continue
        return name
    return None


def _called(file: Path) -> list[str]:
    """Networks by the file's name, and by what `espalier weights` noted of where it is from."""
    called = [file.stem]
    try:
        source = str(json.loads((file.parent / ORIGIN_NAME).read_bytes())["source"])
        called.append(Path(source.rpartition(" ")[2].partition("/")[2] or source).stem)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return [f"{library}/{name}" for name in called for library in ADAPTED]
