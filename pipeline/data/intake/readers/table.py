"""Tables that name their images."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.data.intake.readers.listed import ListedRow, listed_source
from pipeline.data.intake.source import CLASSES, SPLITS, Source
from pipeline.data.intake.sources.table import TableSource
from pipeline.data.intake.tables.csv_rows import read_csv
from pipeline.data.intake.tables.images import NamedImages
from pipeline.data.intake.tables.json_rows import read_json_lines
from pipeline.data.intake.tables.parquet_rows import read_parquet_rows
from pipeline.data.intake.tables.rows import Needed, TableRows
from pipeline.data.intake.trees.blob import Blob, RefusedBlob, printable_name
from pipeline.data.intake.trees.names import may_be_image, split_of, suffix_of
from pipeline.data.intake.trees.tree import Tree, open_tree
from pipeline.data.intake.trees.unpacked import without_suffix
from pipeline.errors import DataError, listed

TABLES_SHOWN = 5
READERS: dict[str, Callable[[Path, str, Needed], TableRows]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".txt": read_csv,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json_lines,
    ".parquet": read_parquet_rows,
}
"""What reads a table, by its suffix; .txt and .json only if the table is named."""
FOUND = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def open_table(params: TableSource, path: Path, columns: Sequence[str], scratch: Path) -> Source:
    """A row for each row of the table or tables, in their order; files that no row names are counted.

    Raises DataError: nothing at the path, no table or several, columns that are missing, a damaged table.
    """
    tree = open_tree(path, scratch)
    tables = tables_in(tree, params.table)
    texts = [params.image_column, *filter(None, [params.split_column])]
    needed = Needed(list(dict.fromkeys([*texts, *columns])), texts, params.list_separator)
    rows: list[ListedRow] = []
    kinds: dict[str, str] = {}
    left_out = Counter(dict(tree.left_out))
    named: set[str] = set()
    for name, split in tables.items():
        read = READERS[_suffix(name)](tree.local(name), tree.shown(name), needed)
        _demand_same(tree.name, kinds, read, name)
        kinds |= read.kinds
        left_out.update(read.left_out)
        images = NamedImages(tree, _places(params, name), named)
        rows += _rows(params, read, images, name, split, columns)
    if not tree.files.keys() - tables.keys() and not named and any(row.file not in tables for row in rows):
        raise DataError(
            f"source {tree.name!r} names files that are not with it; name the folder that holds both as "
            "data.source.path"
        )
    unnamed = [name for name in tree.files if may_be_image(name) and name not in named and name not in tables]
    left_out.update({"images that no table names": len(unnamed)} if unnamed else {})
    return listed_source(tree, rows, kinds, columns, dict(left_out))


def tables_in(tree: Tree, given: str | None) -> dict[str, str]:
    """Names of the tables, with the split that each is. given: the one to read. Raises DataError."""
    if given is not None:
        if given not in tree.files or _suffix(given) not in READERS:
            raise DataError(
                f"source {tree.name!r} has no table {given!r} (data.source.table) of kind "
                f"{', '.join(READERS)}"
            )
        return {given: "train"}
    found = [name for name in tree.files if _suffix(name) in FOUND and name != CLASSES]
    named = {name: split for name in found if (split := _split(name))}
    if len(set(named.values())) == len(named) > 1:
        return dict(sorted(named.items(), key=lambda each: SPLITS.index(each[1])))
    if len(found) != 1:
        shown = listed([printable_name(name) for name in found], TABLES_SHOWN) or "none"
        raise DataError(
            f"source {tree.name!r} needs one table, or one for each split such as train.csv and test.csv "
            f"(found: {shown}); name one as data.source.table"
        )
    return {found[0]: named.get(found[0], "train")}


def _split(name: str) -> str | None:
    """The split that a table's own name says, or else its folder's: train/metadata.csv."""
    path = PurePosixPath(without_suffix(name))
    return split_of(path.stem) or split_of(path.parent.name)


def _suffix(name: str) -> str:
    return suffix_of(without_suffix(name))


def _places(params: TableSource, table: str) -> list[str]:
    """Folders at which names of files start: the one that is said, else the table's own, else the top."""
    if params.root is not None:
        return [params.root]
    return list(dict.fromkeys([str(PurePosixPath(table).parent), "."]))


def _demand_same(source: str, kinds: dict[str, str], read: TableRows, name: str) -> None:
    for column in read.cells:
        if kinds.get(column, read.kinds[column]) != read.kinds[column]:
            raise DataError(
                f"{source}: column {column!r} has several types ({printable_name(name)}: "
                f"{read.kinds[column]}, before: {kinds[column]}); give all files the same"
            )


def _rows(
    params: TableSource,
    read: TableRows,
    images: NamedImages,
    table: str,
    split: str,
    columns: Sequence[str],
) -> Iterator[ListedRow]:
    for row, cells in enumerate(read):
        own, image = split, None
        if params.split_column is not None:
            own, image = own_split(params.split_column, cells[params.split_column])
        if row in read.bad:
            image = RefusedBlob(*read.bad[row].args)
        name = ""
        if image is None:
            name, image = images.find(cells[params.image_column])
        yield ListedRow(name or table, row, own, image, tuple(cells[column] for column in columns))


def own_split(column: str, cell: Any) -> tuple[str, Blob | None]:
    """The split that a row says, or why the row is refused."""
    split = split_of(str(cell))
    if split is None:
        return "train", RefusedBlob(
            "unknown split", f"column {column!r} holds {cell!r}; it must be {', '.join(SPLITS)}"
        )
    return split, None
