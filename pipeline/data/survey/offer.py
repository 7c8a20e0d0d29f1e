"""What a kind of source says if files look like one of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pipeline.data.survey.cells import SurveyedRows

ColumnChoice: TypeAlias = tuple[str, str]
"""A column, and why it is taken."""


@dataclass(frozen=True)
class Offer:
    """source: the section data.source without its path. columns: that hold no images; None: those that the
    opened source has. why: this kind, in a few words. target: what is learnt, if the kind knows that.
    """

    source: dict[str, Any]
    columns: Sequence[str] | None
    why: str
    target: Callable[[SurveyedRows], ColumnChoice] | None = None


def preferred(names: Sequence[str], words: Sequence[str]) -> list[str]:
    """Names in the order of the words that they are or hold, others last."""

    def rank(name: str) -> tuple[int, int]:
        low = name.lower()
        equal = [place for place, word in enumerate(words) if low == word]
        held = [place for place, word in enumerate(words) if word in low]
        return (0, equal[0]) if equal else (1, held[0]) if held else (2, 0)

    return sorted(names, key=rank)
