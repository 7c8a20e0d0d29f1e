"""Class numbers of labels."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from pipeline.data.intake.columns import integers
from pipeline.data.prepared.shards import Indices


def numbers_of(labels: pa.ChunkedArray | pa.Array, classes: Sequence[str]) -> Indices:
    """The class number of each label: a name's place among the classes, or the integer that it is."""
    if not pt.is_string(labels.type):
        return integers(labels.cast(pa.int64()))
    return integers(pc.index_in(labels, value_set=pa.array(classes, pa.string())).cast(pa.int64()))
