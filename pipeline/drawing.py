"""What all pictures share: matplotlib's own style, and names that its own font can write."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
import matplotlib.style

LONGEST_DRAWN_NAME = 24
LAST_LETTER = "ÿ"
"""Last letter that matplotlib's own font surely has; for a later one it draws a box, and warns."""


@contextmanager
def plain_style() -> Iterator[None]:
    """Matplotlib's defaults, whatever a matplotlibrc says, and names with $ that are no formulas."""
    with mpl.style.context("default"), mpl.rc_context({"text.parse_math": False}):
        yield


def drawable(name: str, number: int) -> str:
    """The name of a class as a picture can show it, on one line; "class 3" for one that it cannot."""
    if not name.isprintable() or any(letter > LAST_LETTER for letter in name):
        return f"class {number}"
    return name if len(name) <= LONGEST_DRAWN_NAME else name[: LONGEST_DRAWN_NAME - 1] + "..."
