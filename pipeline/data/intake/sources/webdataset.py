"""WebDataset archives."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pipeline.base.params import Section
from pipeline.data.intake.sources.place import SourcePath

if TYPE_CHECKING:  # who only reads params need not wait for pyarrow
    from pipeline.data.intake.source import Source


class WebdatasetSource(Section):
    kind: Literal["webdataset"] = Field(
        description="WebDataset: tar archives in which files of one name are a sample (image, cls, json, txt)"
    )
    path: SourcePath
    fixed: ClassVar[dict[str, str]] = {}

    def open(self, path: Path, columns: list[str], scratch: Path) -> "Source":
        from pipeline.data.intake.readers.webdataset import open_webdataset

        return open_webdataset(path, columns, scratch)
