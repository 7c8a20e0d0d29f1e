"""Parquet tables that name files."""

from pathlib import Path

from pipeline.data.intake.readers.arrow import arrow_kinds, arrow_values, open_parquet_file, unreadable
from pipeline.data.intake.tables.rows import Needed, TableRows, demand_once


def read_parquet_rows(path: Path, name: str, needed: Needed) -> TableRows:
    """The needed columns. Raises DataError for one that is missing or there twice, a damaged file."""
    with open_parquet_file(path, name) as file, unreadable(name):
        schema = file.schema_arrow
        demand_once(name, schema.names, needed.columns)
        table = file.read(columns=needed.columns).combine_chunks()
    cells = {column: arrow_values(table.column(column)) for column in needed.columns}
    return TableRows(cells, arrow_kinds(schema), {}, {})
