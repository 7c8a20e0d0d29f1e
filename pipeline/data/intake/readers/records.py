"""Records of any cells as a listed source: what each column holds is found out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.data.intake.readers.listed import ListedRow, listed_source
from pipeline.data.intake.source import Source
from pipeline.data.intake.tables.kinds import kind_of
from pipeline.data.intake.trees.blob import Blob
from pipeline.data.intake.trees.tree import Tree


class SampleRecord(NamedTuple):
    """file: name of the image, or of what should have had one. cells: of JSON's types, by column."""

    file: str
    split: str
    image: Blob
    cells: Mapping[str, Any]


def recorded_source(
    tree: Tree, records: Sequence[SampleRecord], wanted: Sequence[str], left_out: Mapping[str, int]
) -> Source:
    """A row for each record; a cell that a record lacks is None. Raises DataError without a record."""
    names = dict.fromkeys(name for record in records for name in record.cells)
    kinds = {name: kind_of(record.cells.get(name) for record in records) for name in names}
    rows = (
        ListedRow(each.file, 0, each.split, each.image, tuple(each.cells.get(name) for name in wanted))
        for each in records
    )
    return listed_source(
        tree, rows, kinds, wanted, dict(Counter(dict(tree.left_out)) + Counter(dict(left_out)))
    )
