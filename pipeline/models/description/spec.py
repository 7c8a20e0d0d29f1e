"""What model.json says of a model: all that is needed to rebuild it, and where it came from."""

import math
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import Field, JsonValue, PositiveInt, model_validator

from pipeline.base.records import Record
from pipeline.images.rule import SIXTEEN_BIT, ImageRule, Resize, SixteenBit
from pipeline.models.description.params import NetworkParams
from pipeline.models.description.plan import KeptChannels

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FORMAT: Final = 5
"""Number of the layout of model.json. No other is read; it rises when a reader would misread a newer file."""
WEIGHTS_NAME: Final = "weights.safetensors"
ONNX_NAME: Final = "model.onnx"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Architecture(NetworkParams):
    """A dense network: the section `model`, with the sizes of its input and output that the data decide."""

    num_outputs: int = Field(ge=1, description="K, the numbers that the last layer gives for a sample")
    channels: int = Field(ge=1, description="C of an image")
    image_height: int = Field(ge=1, description="H of an image, in pixels")
    image_width: int = Field(ge=1, description="W of an image, in pixels")

    @property
    def first_width(self) -> int:
        """Channels of a built-in network's first stage."""
        assert self.width is not None, "NetworkParams demands a width of built-in networks"
        return self.width


class TensorSpec(Record):
    """A tensor that a network takes or gives."""

    shape: list[PositiveInt] = Field(description="of one sample, without the batch")
    dtype: Literal["float32"] = "float32"
    meaning: str = Field(description="what its numbers are, for who feeds or reads them")


class Preprocessing(Record):
    """How a file becomes the network's input, beside what `inputs` says of its shape (images/pixels.py)."""

    resize: Resize = Field(description="how an image of another size or shape is brought to the input's")
    sixteen_bit: SixteenBit = Field(description=SIXTEEN_BIT)
    mean: list[float] = Field(description="per channel, of pixels scaled to 0..1")
    std: list[Annotated[float, Field(gt=0)]] = Field(description="per channel, of pixels scaled to 0..1")


class WeightsFile(Record):
    """The file beside model.json that holds the numbers."""

    kind: Literal["torch", "onnx"] = Field(
        description="torch: tensors of the rebuilt network; onnx: a graph that runs alone"
    )
    file: Literal["weights.safetensors", "model.onnx"] = Field(
        description="its name in the artifact's folder"
    )
    sha256: Sha256
    size_bytes: int = Field(ge=1)


class ModelSpec(Record):
    """A model without its numbers. Equal inputs of a stage give an equal spec: no time, path or host.

    weights is None until artifact.py has written the model; its SHA-256 is the model's identity.
    """

    format: Literal[5] = FORMAT
    architecture: Architecture
    inputs: dict[str, TensorSpec] = Field(
        min_length=1, description="by name, in the order of the exported file: before preprocessing"
    )
    outputs: dict[str, TensorSpec] = Field(
        min_length=1, description="by name, in whose order the last layer holds them"
    )
    preprocessing: Preprocessing
    task: dict[str, JsonValue] = Field(description="what the task notes for who reads answers: class names")
    plan: dict[str, KeptChannels] = Field(description="module name -> kept channels; {} for a dense model")
    sparse: list[str] = Field(
        default=[], description="parameters pruned weight by weight: their zeros stay (sparse.py)"
    )
    ancestors: dict[str, Sha256] = Field(
        description='what it was made from, for example {"dense": digest, "data": digest}'
    )
    provenance: dict[str, int | float | str] = Field(
        description="how it was made: world size, threads, amp, torch version"
    )
    ranges: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        default={},
        description='what quantization-aware training learned: layer and side, as "head:in" -> lowest, '
        "highest",
    )
    weights: WeightsFile | None = None

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        network, mean, std = self.architecture, self.preprocessing.mean, self.preprocessing.std
        given = sum(math.prod(output.shape) for output in self.outputs.values())
        if given != network.num_outputs:
            raise ValueError(f"outputs of {given} numbers for a network that gives {network.num_outputs}")
        image = [network.channels, network.image_height, network.image_width]
        if any(taken.shape != image for taken in self.inputs.values()):
            raise ValueError(f"inputs of other shapes than {image}, which the network takes")
        if not len(mean) == len(std) == network.channels:
            raise ValueError(f"{len(mean)} means and {len(std)} stds for {network.channels} channels")
        return self

    @property
    def image_rule(self) -> ImageRule:
        """How a file becomes the pixels that the network takes."""
        network, by = self.architecture, self.preprocessing
        return ImageRule(
            network.image_height, network.image_width, network.channels, by.resize, by.sixteen_bit
        )

    def example(self, batch: int, seed: int | None = None) -> "dict[str, npt.NDArray[np.float32]]":
        """An input of each name for `batch` samples: zeros or, with a seed, noise, the same at every call."""
        import numpy as np  # here, because processes that only read a description start without it

        shapes = {name: (batch, *taken.shape) for name, taken in self.inputs.items()}
        if seed is None:
            return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        generator = np.random.default_rng(seed)
        return {name: generator.standard_normal(shape, np.float32) for name, shape in shapes.items()}

    @property
    def digest(self) -> str:
        """The model's identity: the SHA-256 of its weights. Only for a model that was saved or loaded."""
        assert self.weights is not None, "the spec of a model that was never saved has no digest"
        return self.weights.sha256
