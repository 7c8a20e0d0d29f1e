"""Image files in a folder for each class."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pipeline.base.params import Section
from pipeline.data.intake.sources.place import SourcePath

if TYPE_CHECKING:  # who only reads params need not wait for pyarrow
    from pipeline.data.intake.source import Source


class FolderSource(Section):
    """Columns: `label`, the class's folder; `folder`, the folders from there to the image, as a group."""

    kind: Literal["folder"] = Field(
        description="image files in a folder for each class (column `label`), perhaps below train, val, test"
    )
    path: SourcePath
    fixed: ClassVar[dict[str, str]] = {"label": "names", "folder": "names"}

    def open(self, path: Path, columns: list[str], scratch: Path) -> "Source":
        from pipeline.data.intake.readers.folder import open_folder

        return open_folder(path, columns, scratch)
