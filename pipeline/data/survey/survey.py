"""One look at a path: of which kind it is, what its columns hold, and some of its images."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter

from pipeline.data.intake.readers.table import FOUND
from pipeline.data.intake.source import Source
from pipeline.data.intake.sources.any_source import AnySource
from pipeline.data.intake.trees.names import may_be_image
from pipeline.data.intake.trees.tree import Tree, open_tree
from pipeline.data.survey.boxes import offer_coco, offer_voc, offer_yolo
from pipeline.data.survey.cells import SurveyedRows, rows_of
from pipeline.data.survey.folders import offer_folder
from pipeline.data.survey.offer import Offer
from pipeline.data.survey.parquet import offer_parquet
from pipeline.data.survey.pixels import offer_idx, offer_pixel_csv
from pipeline.data.survey.sample import Sample, look_at_images
from pipeline.data.survey.tables import offer_table
from pipeline.data.survey.webdataset import offer_webdataset
from pipeline.errors import DataError, listed

OFFERS: Sequence[Callable[[Tree], Offer | None]] = (
    offer_idx,
    offer_webdataset,
    offer_coco,
    offer_voc,
    offer_yolo,
    offer_parquet,
    offer_pixel_csv,
    offer_table,
    offer_folder,
)
"""What looks like a kind of source, in the order in which they are asked."""
MOST_COLUMNS = 200
READ = ("names", "integers", "numbers", "booleans", "lists")
"""Kinds of columns that may say what is to be learnt."""
SUFFIXES_SHOWN = 5


@dataclass(frozen=True)
class Survey:
    """source: the section data.source. offer: of the kind. columns: what each holds that may be learnt."""

    source: dict[str, Any]
    offer: Offer
    opened: Source
    columns: Mapping[str, str]
    rows: SurveyedRows
    sample: Sample


@contextmanager
def survey(path: Path, written: str) -> Iterator[Survey]:
    """What lies at a path. written: how params.yaml names it.

    Raises DataError: nothing there, nothing in it, no kind of source that is known, a damaged file, OSError.
    """
    with tempfile.TemporaryDirectory(prefix="survey-") as scratch:
        offer = _offer(open_tree(path, Path(scratch)))
        source = offer.source | {"path": written}
        params = TypeAdapter[Any](AnySource).validate_python(source)
        opened = params.open(path, list(offer.columns or [])[:MOST_COLUMNS], Path(scratch))
        known = list(opened.columns if offer.columns is None else offer.columns)
        columns = [name for name in known[:MOST_COLUMNS] if opened.columns[name] in READ]
        opened = params.open(path, columns, Path(scratch))
        kinds = {name: opened.columns[name] for name in columns}
        rows, sample = rows_of(opened, columns), look_at_images(opened)
        yield Survey(source, offer, opened, kinds, rows, sample)


def _offer(tree: Tree) -> Offer:
    if not tree.files:
        hidden = "".join(f"; {count} {reason}" for reason, count in tree.left_out.items())
        raise DataError(f"{tree.name}: no file is there{hidden}; put images or a table with them there")
    for kind in OFFERS:
        if offer := kind(tree):
            return offer
    if list(tree.files) == [tree.name] and PurePosixPath(tree.name).suffix.lower() in FOUND:
        raise DataError(
            f"{tree.name}: no images; a table that names images lies in a folder with them, which is the "
            "path to give"
        )
    suffixes = sorted({Path(name).suffix.lower() or name for name in tree.files if not may_be_image(name)})
    raise DataError(
        f"{tree.name}: {len(tree.files)} files ({listed(suffixes, SUFFIXES_SHOWN)}), but no images that a "
        "kind of source knows: a folder for each class, a table that names images, Parquet that holds them, "
        "boxes (VOC, COCO, YOLO); what each needs stands at data.source in params.schema.json"
    )
