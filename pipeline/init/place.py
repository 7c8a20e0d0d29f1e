"""Where a source lies, as params.yaml names it, and what its model is called."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import DataError

MADE = ("data/prepared", "data/init", "data/teacher", "artifacts", "exported", "reports", ".espalier", ".dvc")
"""Folders that stages and commands of the project write."""
URL = re.compile(r"^[a-z][a-z0-9+]+://", re.IGNORECASE)
MODEL_ADDRESS = "models:/"
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
PACKED_SUFFIXES = re.compile(
    r"(\.(zip|tar|tgz|gz|zst|zstd|tzst|csv|tsv|jsonl|ndjson|json|parquet))+$", re.IGNORECASE
)
LONGEST_MODEL_NAME = 60


class Place(NamedTuple):
    """written: as data.source.path. path: to be read now. model_name: in the registry. is_outside: of the
    project.
    """

    written: str
    path: Path
    model_name: str
    is_outside: bool


def find_place(given: str, root: Path) -> Place:
    """Raises DataError for an address, a path that stages write or no text can name, nothing there."""
    if given.startswith(MODEL_ADDRESS):
        raise DataError(f"{given} is a model; `espalier weights {given}` brings its weights")
    if URL.match(given):
        raise DataError(
            f"{given} is an address; bring what it holds with `dvc import-url {given} data/raw/NAME`, then "
            "`espalier init data/raw/NAME`"
        )
    if not given.isprintable():  # what is no UTF-8 neither
        raise DataError(f"{given!a} holds what cannot be seen, or no UTF-8; rename it")
    # Not resolved: a link below data/raw is named as itself.
    top, path = (Path(os.path.normpath(each.absolute())) for each in (root, root / given))
    if not path.exists():
        raise DataError(f"{given} does not exist; name a folder, a table or an archive of images")
    outside = path != top and not path.is_relative_to(top)
    written = path.as_posix() if outside else path.relative_to(top).as_posix()
    if path == top or any(f"{written}/".startswith(f"{made}/") for made in MADE):
        raise DataError(f"{given} holds what stages of the project write; put your data below data/raw")
    name = NOT_IN_NAMES.sub("-", PACKED_SUFFIXES.sub("", path.name)).strip("-.")[:LONGEST_MODEL_NAME]
    return Place(written, path, name or "images", outside)
