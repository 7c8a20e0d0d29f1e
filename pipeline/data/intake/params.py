"""The `data` section of params.yaml: where images come from, and what they are brought to."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.base.params import Name, Section
from pipeline.data.fields.field import TargetName
from pipeline.data.intake.limits import IntakeLimits
from pipeline.data.intake.sources.any_source import AnySource
from pipeline.data.intake.splitting.params import AnySplit
from pipeline.data.intake.store import ImageStore
from pipeline.data.intake.targets.target import AnyTarget
from pipeline.images.rule import SIXTEEN_BIT, Crop, ImageRule, Resize, SixteenBit


class DataParams(Section):
    """Section `data`: one source, brought to one image size and cut into train, val and test."""

    renamed: ClassVar[dict[str, str]] = {
        "label_column": "targets",
        "path": "source.path",
        "image_column": "source.image_column",
        "raw_shape": "source.raw_shape",
        **{key: f"split.{key}" for key in ("val_fraction", "test_fraction", "seed")},
        **{key: f"limits.{key}" for key in ("max_pixels", "max_quarantined", "strict")},
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
    split: AnySplit = Field(description="which rows are train, val and test, if the source does not say")
    limits: IntakeLimits = Field(description="what an image may take, and how much may be wrong")
    shard_rows: int = Field(
        ge=1,
        le=10_000_000,
        description="most rows in a shard file, which has to fit into memory while it is written: of large "
        "images it has fewer",
    )

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
        val, test = self.split.val_fraction, self.split.test_fraction
        if val + test >= 1:
            raise ValueError(
                f"split.val_fraction {val} and split.test_fraction {test} leave nothing for train; make "
                "their sum smaller than 1"
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
        others = [("slice_columns", self.slice_columns), ("split.column", self._split_columns)]
        for key, columns in [*wanted, *others] if fixed else ():
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
        return list(dict.fromkeys([*found, *self.slice_columns, *self._split_columns]))

    @property
    def _split_columns(self) -> list[str]:
        return [self.split.column] if self.split.column else []
