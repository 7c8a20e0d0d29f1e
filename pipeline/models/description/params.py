"""The section `model` of params.yaml."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.base.params import Name, Section, nearest

BUILT_IN = (
    "airbench",
    "mlp",
    "mobilenetv2",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "vgg11",
    "vgg16",
)
"""Names that nets/build.py knows without a prefix."""
ADAPTED = ("timm", "torchvision")
"""Libraries whose own networks are reached as <library>/<name>."""


class NetworkParams(Section):
    """Which network to build."""

    name: Name = Field(
        min_length=1,
        description="a built-in network (airbench, mlp, mobilenetv2, resnet18, resnet20, resnet32, resnet44, "
        "resnet56, resnet110, vgg11, vgg16), or timm/<name> or torchvision/<name>",
    )
    width: int | None = Field(
        ge=1,
        le=4096,
        description="channels of a built-in network's first stage; null for timm/ and torchvision/, whose "
        "names fix it",
    )
    dropout: float = Field(
        ge=0, lt=1, description="probability that a feature is dropped before the head; 0 = none"
    )
    stochastic_depth: float = Field(
        ge=0,
        lt=1,
        description="probability that an image skips the last residual branch; earlier ones are skipped "
        "less, in proportion to their depth (Huang et al. 2016); 0 = never",
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        """Names of timm and torchvision are looked up when built: importing these takes seconds."""
        library, slash, adapted = name.partition("/")
        if slash and (library not in ADAPTED or not adapted):
            raise ValueError(f"{name!r} is not of the form timm/<name> or torchvision/<name>")
        if not slash and name not in BUILT_IN:
            raise ValueError(
                f"unknown network {name!r}{nearest(name, list(BUILT_IN))} (others: timm/<name>, "
                "torchvision/<name>)"
            )
        return name

    @model_validator(mode="after")
    def _width_where_it_counts(self) -> Self:
        if "/" in self.name and self.width is not None:
            raise ValueError(
                f"width is {self.width}, but the name {self.name!r} fixes the width; set `width: null`"
            )
        if "/" not in self.name and self.width is None:
            raise ValueError(
                f"width is null, but {self.name!r} needs the channels of its first stage, for example "
                "`width: 16`"
            )
        return self


class ModelParams(NetworkParams):
    """The network, and what its weights are at the start."""

    init: Literal["random", "file"] = Field(
        description="what training starts from; file: data/init/weights.safetensors, which "
        "`espalier weights` brings"
    )
