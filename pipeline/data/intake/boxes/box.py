"""Boxes of one image, as cells of a row."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple


class BoundingBox(NamedTuple):
    """A thing in an image. area: in any unit that is the same for all boxes of the image."""

    label: str
    area: float


def box_cells(boxes: Sequence[BoundingBox], classes: Sequence[str]) -> dict[str, Any]:
    """Columns of an image: `classes` that are there, that of the `largest` box, `count` of all and, for
    each class, `count_<class>`.
    """
    counts = Counter(box.label for box in boxes)
    largest = max(boxes, key=lambda box: (box.area, box.label), default=None)
    return {
        "classes": sorted(counts),
        "largest": largest.label if largest else None,
        "count": len(boxes),
    } | {f"count_{name}": counts[name] for name in classes}
