"""Files of Parquet tables, as people, hubs and Spark name them: which split each is, and in which order."""

import re
from collections.abc import Mapping, Sequence

from pipeline.data.intake.source import SPLITS
from pipeline.data.intake.trees.blob import printable_name
from pipeline.data.intake.trees.names import split_in
from pipeline.errors import DataError, listed

SUFFIX = ".parquet"
NUMBER_PARTS = re.compile(r"(\d+)")
NAMES_SHOWN = 5


def split_files(source: str, names: Sequence[str]) -> tuple[dict[str, str], int]:
    """The split of each Parquet file, those of train first, and how many others there are.

    A file's own name says its split, or else the folder's; files of which none says one are all of train.
    Raises DataError if none is of train.
    """
    found = [name for name in names if is_table(name)]
    splits = {name: split for name in found if (split := split_in(name))}
    if not splits:
        splits = dict.fromkeys(found, "train")
    if "train" not in splits.values():
        shown = listed([printable_name(name) for name in found], NAMES_SHOWN) or "no Parquet file"
        raise DataError(
            f"source {source!r} has no train.parquet (found: {shown}); rename, or name one file as "
            "data.source.path"
        )
    ordered = sorted(splits, key=lambda name: (SPLITS.index(splits[name]), _natural(name)))
    return {name: splits[name] for name in ordered}, len(found) - len(splits)


def is_table(name: str) -> bool:
    """Whether a file holds rows: Spark's own notes begin with an underscore."""
    base = name.rsplit("/", maxsplit=1)[-1]
    return base.lower().endswith(SUFFIX) and not base.startswith("_")


def same_columns(kinds: Mapping[str, Mapping[str, str]], columns: Sequence[str], source: str) -> None:
    """Raises DataError unless all files hold the same in these columns. kinds: by file and column."""
    for column in columns:
        found = {name: held[column] for name, held in kinds.items() if column in held}
        if 0 < len(found) < len(kinds):
            lacking = next(name for name in kinds if name not in found)
            raise DataError(f"{source}: {lacking} has no column {column!r}, which {next(iter(found))} has")
        first = {kind: name for name, kind in reversed(found.items())}
        if len(first) > 1:
            each = ", ".join(f"{name}: {kind}" for kind, name in reversed(first.items()))
            raise DataError(
                f"{source}: column {column!r} has several types ({each}); give all files the same"
            )


def _natural(name: str) -> list[str | int]:
    """A key by which part-2 comes before part-10."""
    return [int(part) if part.isdigit() else part for part in NUMBER_PARTS.split(name)]
