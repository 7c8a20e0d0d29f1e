"""The `data` section of params.yaml: where images come from, and what they are brought to."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.base.params import Name, Section
from pipeline.data.fields.field import TargetName
from pipeline.data.intake.sources.any_source import AnySource
from pipeline.data.intake.targets.target import AnyTarget
from pipeline.images.rule import SIXTEEN_BIT, Crop, ImageRule, Resize, SixteenBit
from pipeline.images.store import ImageStore


class DataParams(Section):
    """Section `data`: one source, brought to one image size and cut into train, val and test."""

    renamed: ClassVar[dict[str, str]] = {
        "label_column": "targets",
        "path": "source.path",
        "image_column": "source.image_column",
        "raw_shape": "source.raw_shape",
    }

    source: AnySource = Field(description="where the images are, and of what kind")
    targets: dict[TargetName, AnyTarget] = Field(
        min_length=1,
        max_length=50,
        description="what is to be learnt, by name (`label` for a task with one problem), and the columns "
        "that say it; the first one's kinds come into val and test in the same proportions",
    )
    slice_columns: list[Name] = Field(
        max_length=20,
        description="columns of strings or integers that say what kind an image is (its camera, its site); "
        "what a step of compression loses is also stated for each of their values",
    )
    height: int = Field(ge=1, le=2048, description="height that every image is brought to, in pixels")
    width: int = Field(ge=1, le=2048, description="width that every image is brought to, in pixels")
    channels: Literal[1, 3] = Field(description="1: grey, 3: RGB")
    resize: Resize = Field(
        description="how an image of another size or shape is brought to height x width; a JPEG is decoded "
        "at 1/2, 1/4 or 1/8 of its size if its shorter side then still is twice as long as needed"
    )
    sixteen_bit: SixteenBit = Field(description=SIXTEEN_BIT)
    store: ImageStore = Field(description="how the images of the training split are kept")
    val_fraction: float = Field(
        ge=0, lt=1, description="fraction of the rows carved out as val; unused with a val.parquet"
    )
    test_fraction: float = Field(
        ge=0, lt=1, description="fraction of the rows carved out as test; unused with a test.parquet"
    )
    max_pixels: int = Field(
        ge=1,
        le=178_000_000,
        description="pixels of the largest image decoded; above it a small file may be meant to fill the "
        "memory; a JPEG of more than 40 million is decoded at a half of its size or less",
    )
    strict: bool = Field(
        description="refuse data in which the card has findings: classes whose names look the same, images "
        "of one colour"
    )
    max_quarantined: float = Field(
        ge=0, le=1, description="largest fraction of the rows that may be defective and left out"
    )
    shard_rows: int = Field(
        ge=1,
        le=10_000_000,
        description="rows in a shard file; one shard has to fit into memory while it is written",
    )
    seed: int = Field(ge=0, lt=2**31, description="decides which rows are carved out as val and test")

    @property
    def rule(self) -> ImageRule:
        """How every image becomes pixels."""
        return ImageRule(self.height, self.width, self.channels, self.resize, self.sixteen_bit)

    @field_validator("source", mode="before")
    @classmethod
    def _is_a_section(cls, source: Any) -> Any:
        if isinstance(source, str):
            raise ValueError(f"a section now; write source: {{kind: {source}, path: ..., ...}}")
        return source

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"val_fraction {self.val_fraction} and test_fraction {self.test_fraction} leave nothing for "
                "train; make their sum smaller than 1"
            )
        if self.store.kind == "encoded" and self.store.shorter_side < self.rule.shorter_side:
            raise ValueError(
                f"store.shorter_side is {self.store.shorter_side}, but images of {self.height} x "
                f"{self.width} pixels are made from {self.rule.shorter_side}; raise it to that at least"
            )
        if isinstance(self.resize, Crop) and self.resize.size < max(self.height, self.width):
            raise ValueError(
                f"resize.size is {self.resize.size}, from which {self.height} x {self.width} pixels cannot "
                f"be cut; raise it to {max(self.height, self.width)} at least"
            )
        return self

    @model_validator(mode="after")
    def _columns_are_there(self) -> Self:
        """Whether a kind of source that always has the same columns has those that are named."""
        fixed = self.source.fixed
        wanted = [(f"targets.{name}", target.names) for name, target in self.targets.items()]
        for key, columns in [*wanted, ("slice_columns", self.slice_columns)] if fixed else ():
            if strange := [column for column in columns if column not in fixed]:
                known = ", ".join(map(repr, fixed))
                raise ValueError(
                    f"{key}: source {self.source.kind} has no column {strange[0]!r}, only {known}"
                )
        return self

    @property
    def columns(self) -> list[str]:
        """What is read of each row beside its image."""
        found = [column for target in self.targets.values() for column in target.names]
        return list(dict.fromkeys([*found, *self.slice_columns]))
