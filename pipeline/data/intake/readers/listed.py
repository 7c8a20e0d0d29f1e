"""A source whose images are files of their own: a list of names, with the cells of each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.data.intake.source import BATCH_BYTES, BATCH_ROWS, CLASSES, SPLITS, Source, SourceBatch, ranges
from pipeline.data.intake.trees.blob import Blob, RefusedBlob, content, printable_name
from pipeline.data.intake.trees.tree import Tree
from pipeline.errors import DataError
from pipeline.images.defect import Defect


class ListedRow(NamedTuple):
    """file: name of the image, or of the table if there is none. row: its number in a table, else 0.
    cells: of the columns that are wanted.
    """

    file: str
    row: int
    split: str
    image: Blob
    cells: tuple[Any, ...]


@dataclass(frozen=True)
class ListedPiece:
    columns: tuple[str, ...]
    listed: tuple[ListedRow, ...]

    @property
    def rows(self) -> int:
        return len(self.listed)

    def read(self) -> Iterator[SourceBatch]:
        waiting: list[ListedRow] = []
        images: list[bytes | Defect] = []
        size = 0
        for row in self.listed:
            image = _read(row.image)
            waiting.append(row)
            images.append(image)
            size += 0 if isinstance(image, Defect) else len(image)
            if len(waiting) == BATCH_ROWS or size >= BATCH_BYTES:
                yield self._batch(waiting, images)
                waiting, images, size = [], [], 0
        if waiting:
            yield self._batch(waiting, images)

    def _batch(self, rows: list[ListedRow], images: list[bytes | Defect]) -> SourceBatch:
        return SourceBatch(
            files=[printable_name(row.file) for row in rows],
            rows=[row.row for row in rows],
            splits=[row.split for row in rows],
            images=images,
            cells={name: [row.cells[place] for row in rows] for place, name in enumerate(self.columns)},
        )


def listed_source(
    tree: Tree,
    rows: Iterable[ListedRow],
    columns: Mapping[str, str],
    wanted: Sequence[str],
    left_out: Mapping[str, int],
    raw_shape: tuple[int, int, int] | None = None,
) -> Source:
    """The rows, those of train first, in their order; then what the tree refuses.

    columns: kinds of all columns. wanted: those whose cells the rows have. Raises DataError without a row.
    """
    nothing = (None,) * len(wanted)
    refused = [
        ListedRow(each.name, 0, "train", RefusedBlob(*each.defect.args), nothing) for each in tree.refused
    ]
    ordered = sorted([*rows, *refused], key=lambda row: SPLITS.index(row.split))
    if not ordered:
        counted = "".join(f"; {count} {reason} left out" for reason, count in left_out.items())
        raise DataError(f"source {tree.name!r} holds no image{counted}; look at data.source.path")
    found = {row.split for row in ordered}
    return Source(
        name=tree.name,
        splits=[split for split in SPLITS if split in found],
        columns=columns,
        classes={},
        classes_json=classes_json(tree),
        raw_shape=raw_shape,
        pieces=[
            ListedPiece(tuple(wanted), tuple(ordered[part.start : part.stop]))
            for part in ranges(len(ordered))
        ],
        left_out=left_out,
    )


def classes_json(tree: Tree) -> bytes | None:
    """Content of classes.json at the top. Raises DataError if it cannot be read."""
    try:
        return content(tree.files[CLASSES]) if CLASSES in tree.files else None
    except Defect as defect:
        raise DataError(f"{tree.name}: {defect.reason}: {defect.detail}") from defect


def _read(blob: Blob) -> bytes | Defect:
    try:
        return content(blob)
    except Defect as defect:
        return Defect(defect.reason, defect.detail)  # without the frames that lead to where it was found
