"""Tables as CSV, the same text for the same rows."""

import csv
import io
from collections.abc import Iterable
from typing import Any

DIGITS = 6
"""Of fractions."""


def csv_text(header: list[str], rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
