"""CSV and its relatives: encoding, delimiter and quotes are found out."""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.data.intake.tables.kinds import typed
from pipeline.data.intake.tables.rows import UNREAD, Needed, TableRows, demand_once
from pipeline.errors import DataError
from pipeline.images.defect import Defect

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
DELIMITERS = ",;\t|"
SAMPLE_BYTES = 1 << 16
MOST_CELL_CHARACTERS = 1 << 26
"""A cell may be an image in base64."""
SEP_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""The first line by which a spreadsheet says its delimiter."""


class Dialect(NamedTuple):
    """start: lines before the header."""

    encoding: str
    delimiter: str
    quote: str
    start: int


def read_csv(path: Path, name: str, needed: Needed) -> TableRows:
    """The needed columns. name: of the table in messages.

    A row with too many or too few fields is bad; lines without any content are left out. Raises DataError for
    a column that is missing or there twice, quotes that do not close.
    """
    csv.field_size_limit(MOST_CELL_CHARACTERS)
    dialect = find_dialect(path, needed.columns)
    lines = csv_lines(path, name, dialect)
    header = next(lines, (0, []))[1]
    while header and not header[-1]:  # as spreadsheets leave columns that were emptied
        header.pop()
    demand_once(name, header, needed.columns)
    places = [header.index(column) for column in needed.columns]
    rows: list[list[str]] = []
    bad: dict[int, Defect] = {}
    left_out: Counter[str] = Counter()
    for number, fields in lines:
        if not any(fields):
            left_out["empty lines of tables"] += 1
        elif len(fields) < len(header) or any(fields[len(header) :]):
            detail = f"line {number} has {len(fields)} fields, but the header {len(header)}"
            bad[len(rows)] = Defect("malformed row", detail)
            rows.append([""] * len(places))
        else:
            rows.append([fields[place] for place in places])
    found = _typed(rows, needed, dialect)
    kinds = dict.fromkeys(filter(None, header), UNREAD) | {name: kind for name, (kind, _) in found.items()}
    return TableRows({column: cells for column, (_, cells) in found.items()}, kinds, bad, dict(left_out))


def _typed(
    rows: Sequence[Sequence[str]], needed: Needed, dialect: Dialect
) -> dict[str, tuple[str, Sequence[Any]]]:
    """Kind and cells of each needed column."""
    found: dict[str, tuple[str, Sequence[Any]]] = {}
    for place, column in enumerate(needed.columns):
        texts = [row[place] or None for row in rows]
        is_text = column in needed.texts
        found[column] = (
            ("names", texts) if is_text else typed(texts, needed.list_separator, dialect.delimiter == ";")
        )
    return found


def find_dialect(path: Path, needed: Sequence[str]) -> Dialect:
    """How a table is written: with the delimiter that gives most of the needed columns, then most columns."""
    encoding = _encoding(path)
    with path.open(encoding=encoding, newline="", errors="replace") as file:
        sample = file.read(SAMPLE_BYTES)
    first, _, rest = sample.partition("\n")
    if said := SEP_LINE.fullmatch(first):
        return Dialect(encoding, said[1], _quote(rest), 1)
    quote = _quote(sample)

    def worth(delimiter: str) -> tuple[int, int]:
        reader = csv.reader(sample.splitlines(keepends=True), delimiter=delimiter, quotechar=quote)
        header = [field.strip() for field in next(reader, [])]
        return sum(column in header for column in needed), len(header)

    return Dialect(encoding, max(DELIMITERS, key=worth), quote, 0)


def _encoding(path: Path) -> str:
    """Its byte order mark's, else UTF-8 if all of it is that, else that of Western spreadsheets."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        start = file.read(4)
        for mark, encoding in BYTE_ORDER_MARKS.items():
            if start.startswith(mark):
                return encoding
        file.seek(0)
        try:
            while chunk := file.read(SAMPLE_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def _quote(sample: str) -> str:
    return "'" if sample.startswith("'") else '"'


def csv_lines(path: Path, name: str, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Rows of fields, with the number of the line each ends in."""
    with path.open(encoding=dialect.encoding, newline="", errors="replace") as file:
        for _ in range(dialect.start):
            file.readline()
        reader: Any = csv.reader(file, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)
        try:
            for fields in reader:
                yield dialect.start + reader.line_num, [field.strip() for field in fields]
        except csv.Error as error:
            raise DataError(
                f"{name} line {dialect.start + reader.line_num}: {error}; mend the quotes"
            ) from error
