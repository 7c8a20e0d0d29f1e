"""All kinds of sources that `data.source` may be."""

from typing import Annotated, TypeAlias

from pydantic import Field

from pipeline.data.intake.sources.digits import DigitsSource
from pipeline.data.intake.sources.folder import FolderSource
from pipeline.data.intake.sources.parquet import ParquetSource
from pipeline.data.intake.sources.table import TableSource

AnySource: TypeAlias = Annotated[
    DigitsSource | FolderSource | ParquetSource | TableSource, Field(discriminator="kind")
]
"""`open` looks at what is there, but reads no row; what it decompresses for that lies in `scratch`. `fixed`:
what each column holds, where that is always the same.
"""
