"""Pascal VOC annotations: columns `classes`, `largest`, `count` and `count_<class>`."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pipeline.base.params import Section
from pipeline.data.intake.sources.place import SourcePath

if TYPE_CHECKING:  # who only reads params need not wait for pyarrow
    from pipeline.data.intake.source import Source


class VocSource(Section):
    kind: Literal["voc"] = Field(description="Pascal VOC: an XML file of boxes for each image")
    path: SourcePath
    fixed: ClassVar[dict[str, str]] = {}

    def open(self, path: Path, columns: list[str], scratch: Path) -> "Source":
        from pipeline.data.intake.readers.voc import open_voc

        return open_voc(path, columns, scratch)
