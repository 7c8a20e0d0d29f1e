"""Parquet tables of other problems than one class an image, made of real photographs."""

import csv
import io
import json
import zipfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.support.data_samples import REAL_DATA

BLOOD = REAL_DATA / "bccd"
STREETS = REAL_DATA / "camvid"
SPLITS = ("train", "val", "test")
DENSITIES = ("sparse", "middling", "dense")
DENSITY_BOUNDS = (10, 14)
"""Red cells from which a picture is middling, and dense: about a third of the pictures each."""
RARE = 0.05
VOID = 11
"""Pixels of CamVid's masks without a class."""


def blood_cells(folder: Path) -> None:
    """train, val and test of BCCD.

    Columns: `kinds` of cells in a picture, `count` of red ones, and `density`, in a word how many that is.
    """
    seen: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    with (BLOOD / "boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            seen[row["split"], row["file"]][row["class"]] += 1
    with zipfile.ZipFile(BLOOD / "bccd_voc.zip") as archive:
        for split in SPLITS:
            rows = [
                {
                    "image": archive.read(f"BCCD/JPEGImages/{name}"),
                    "kinds": sorted(cells),
                    "count": cells["RBC"],
                    "density": DENSITIES[np.searchsorted(DENSITY_BOUNDS, cells["RBC"], side="right")],
                }
                for (where, name), cells in sorted(seen.items())
                if where == split
            ]
            pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")


def streets(file: Path) -> list[str]:
    """One table of all CamVid frames with a column of 0 and 1 for each class: whether it is in the frame.

    Classes in more than 95 % or less than 5 % of them are left out; returns the others. Cut at random,
    neighbouring frames come into several splits, so that scores flatter: the splits that CamVid has hold the
    same classes in every frame.
    """
    names: list[str] = json.loads((STREETS / "classes.json").read_text())["classes"]
    table = pa.concat_tables(pq.read_table(STREETS / f"{split}.parquet") for split in SPLITS)
    found = _in_frame(table, len(names))
    share = found.mean(axis=0)
    chosen = [number for number in range(len(names)) if RARE < share[number] < 1 - RARE]
    columns: dict[str, Any] = {"image": table["image"]}
    columns |= {names[number]: pa.array(found[:, number]) for number in chosen}
    pq.write_table(pa.table(columns), file)
    return [names[number] for number in chosen]


def _in_frame(table: Any, classes: int) -> Any:
    """(rows, classes) of 0 and 1."""
    masks = [np.asarray(Image.open(io.BytesIO(mask))) for mask in table["mask"].to_pylist()]
    counts = [np.bincount(mask[mask < VOID], minlength=classes)[:classes] for mask in masks]
    return (np.stack(counts) > 0).astype(np.int64)
