"""What model.json says of a model: all that is needed to rebuild it, and where it came from."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from pipeline.models.description.params import NetworkParams
from pipeline.models.description.plan import KeptChannels
from pipeline.records import Record

FORMAT: Final = 3
"""Number of the layout of model.json; it rises when an older reader would misread a newer file. 2: sparse
weights.

3: sealed."""
READABLE: Final = (1, 2, 3)
SEALED: Final = 3
"""The first that carries a seal; a model that was registered before has none."""
WEIGHTS_NAME: Final = "weights.safetensors"
ONNX_NAME: Final = "model.onnx"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Architecture(NetworkParams):
    """A dense network: the section `model`, with the sizes of its input and output that the data decide."""

    num_classes: int = Field(ge=2, description="K, the number of logits")
    channels: int = Field(ge=1, description="C of an image")
    image_height: int = Field(ge=1, description="H of an image, in pixels")
    image_width: int = Field(ge=1, description="W of an image, in pixels")

    @property
    def first_width(self) -> int:
        """Channels of a built-in network's first stage."""
        assert self.width is not None, "NetworkParams demands a width of built-in networks"
        return self.width


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
    """A model without its numbers. Equal inputs of a stage give an equal spec: it holds no time, path or
    host.

    weights is None until artifact.py has written the model; its SHA-256 is the model's identity.
    """

    format: Literal[1, 2, 3] = FORMAT
    architecture: Architecture
    classes: list[str] = Field(description="class names, in the order of the logits")
    mean: list[float] = Field(description="per channel, of pixels scaled to 0..1")
    std: list[Annotated[float, Field(gt=0)]] = Field(description="per channel, of pixels scaled to 0..1")
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
        if len(self.classes) != self.architecture.num_classes:
            raise ValueError(f"{len(self.classes)} class names for {self.architecture.num_classes} classes")
        if not len(self.mean) == len(self.std) == self.architecture.channels:
            raise ValueError(
                f"{len(self.mean)} means and {len(self.std)} stds for {self.architecture.channels} channels"
            )
        return self

    @property
    def digest(self) -> str:
        """The model's identity: the SHA-256 of its weights. Only for a model that was saved or loaded."""
        assert self.weights is not None, "the spec of a model that was never saved has no digest"
        return self.weights.sha256
