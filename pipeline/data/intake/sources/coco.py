"""COCO annotations: columns `classes`, `largest`, `count` and `count_<class>`."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pipeline.base.params import Section
from pipeline.data.intake.sources.place import SourcePath

if TYPE_CHECKING:  # who only reads params need not wait for pyarrow
    from pipeline.data.intake.source import Source


class CocoSource(Section):
    kind: Literal["coco"] = Field(description="COCO: a JSON file of boxes for each split")
    path: SourcePath
    fixed: ClassVar[dict[str, str]] = {}

    def open(self, path: Path, columns: list[str], scratch: Path) -> "Source":
        from pipeline.data.intake.readers.coco import open_coco

        return open_coco(path, columns, scratch)
