"""A pruning plan as data: which channels of each dense module are kept.

The prune stage records it; it is consistent over modules because the dependency graph that made it is
(Fang et al., "DepGraph: Towards Any Structural Pruning", arXiv 2301.12900). nets/cut.py applies it.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class KeptChannels(BaseModel):
    """Kept channels of one module, as rising indices into its dense form; None keeps all of a side.

    In JSON: {"out": [...], "in": [...]}. Norms and depthwise convolutions have only one side: give either
    side, or the same on both. So have the heads of an attention, and a parameter outside any layer.
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", validate_by_name=True, serialize_by_alias=True
    )

    out: list[int] | None = None
    in_: list[int] | None = Field(default=None, validation_alias="in", serialization_alias="in")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        for side, kept in (("out", self.out), ("in", self.in_)):
            if kept is not None and (not kept or kept[0] < 0 or any(b <= a for a, b in pairwise(kept))):
                raise ValueError(f"kept channels {side!r} must be rising indices from 0 on, at least one")
        return self


Plan = Mapping[str, KeptChannels]
