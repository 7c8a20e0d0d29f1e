"""All kinds of sources that `data.source` may be."""

from typing import Annotated, TypeAlias

from pydantic import Field

from pipeline.data.intake.sources.coco import CocoSource
from pipeline.data.intake.sources.digits import DigitsSource
from pipeline.data.intake.sources.folder import FolderSource
from pipeline.data.intake.sources.idx import IdxSource
from pipeline.data.intake.sources.parquet import ParquetSource
from pipeline.data.intake.sources.pixel_csv import PixelCsvSource
from pipeline.data.intake.sources.table import TableSource
from pipeline.data.intake.sources.voc import VocSource
from pipeline.data.intake.sources.webdataset import WebdatasetSource
from pipeline.data.intake.sources.yolo import YoloSource

AnySource: TypeAlias = Annotated[
    CocoSource
    | DigitsSource
    | FolderSource
    | IdxSource
    | ParquetSource
    | PixelCsvSource
    | TableSource
    | VocSource
    | WebdatasetSource
    | YoloSource,
    Field(discriminator="kind"),
]
"""`open` looks at what is there, but reads no row; what it decompresses for that lies in `scratch`. `fixed`:
what each column holds, where that is always the same.
"""
