"""What a kind of source says if files look like one of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Offer:
    """source: the section data.source without its path. columns: that hold no images. targets: columns that
    are meant to be learnt, the best first, if the kind knows. why: this kind, in a few words.
    """

    source: dict[str, Any]
    columns: Sequence[str]
    why: str
    targets: Sequence[str] = field(default=())


def preferred(names: Sequence[str], words: Sequence[str]) -> list[str]:
    """Names in the order of the words that they are or hold, others last."""

    def rank(name: str) -> tuple[int, int]:
        low = name.lower()
        equal = [place for place, word in enumerate(words) if low == word]
        held = [place for place, word in enumerate(words) if word in low]
        return (0, equal[0]) if equal else (1, held[0]) if held else (2, 0)

    return sorted(names, key=rank)
