"""How far the answers of a deployed file are from those of what it was made from."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from pipeline.base.records import Record, cure, sealed_json, unsealed
from pipeline.errors import ArtifactError

if TYPE_CHECKING:  # who only reads figures need not wait for what made them
    from pipeline.tasks.judging.arrays import Outputs
    from pipeline.tasks.judging.examiner import Examiner

PARITY_NAME = "parity.json"


class Parity(Record):
    """A deployed file beside what it was made from, on the same images.

    against: what that is. run_by: what ran the file. max_diff: largest absolute difference of an output;
    agreement: how far the answers are the same, mean over the images.
    """

    against: str
    run_by: str
    max_diff: float = Field(ge=0)
    agreement: float = Field(ge=0, le=1)
    images: int = Field(ge=1)


class Parities(Record):
    """parity.json, by name of the file."""

    files: dict[str, Parity]

    def to_json(self) -> str:
        return sealed_json(self.model_dump())


def read_parities(folder: Path, stage: str) -> Parities:
    """parity.json in a folder. Raises ArtifactError if it is not what `stage` wrote."""
    path = folder / PARITY_NAME
    try:
        return Parities.model_validate(unsealed(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{path}: not the parity of a file ({' '.join(str(error).split())}); {cure(stage)}"
        ) from error


def parity(
    first: "Outputs",
    second: "Outputs",
    examiner: "Examiner",
    *,
    against: str,
    run_by: str = "onnxruntime on the CPU",
) -> Parity:
    """Compare what two models gave for the same images; the second is the deployed file."""
    import numpy as np

    same = examiner.same(examiner.answers(first), examiner.answers(second))
    return Parity(
        against=against,
        run_by=run_by,
        max_diff=max(float(np.abs(first[name] - second[name]).max()) for name in first),
        agreement=float(same.mean()),
        images=len(same),
    )
