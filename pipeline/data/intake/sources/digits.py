"""scikit-learn's handwritten digits, which need no file of the project."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pipeline.base.params import Section

if TYPE_CHECKING:  # who only reads params need not wait for numpy
    from pipeline.data.intake.source import Source

DIGITS_COLUMN = "label"


class DigitsSource(Section):
    kind: Literal["digits"] = Field(description="1,797 handwritten digits of 8x8 pixels in scikit-learn")
    path: Literal["data/raw/README.md"] = Field(
        description="not read: dvc.yaml needs a file that is there, and that no data beside it change"
    )
    fixed: ClassVar[dict[str, str]] = {DIGITS_COLUMN: "integers"}

    def open(self, _path: Path, columns: list[str], _scratch: Path) -> "Source":
        from pipeline.data.intake.readers.digits import open_digits

        return open_digits(columns)
