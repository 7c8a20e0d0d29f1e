"""params.yaml as it is written says what it was given, and shows whether somebody edited it."""

from typing import Any

import pytest

from pipeline.base.yaml_file import parse_yaml
from pipeline.init.text import is_as_written, to_text

VALUES: dict[str, Any] = {
    "a": {"x": None, "y": [1, 2.5, "no", "e: #"], "z": {"name": "cosine", "warmup": 1e-7}},
    "b": {
        "t": True,
        "text": "data/raw/ü b",
        "number": "007",
        "unseen": "a\u2028b\x85",
        "empty": "",
        "none": {},
    },
}


def test_values_are_read_back_as_they_were() -> None:
    assert parse_yaml(to_text(VALUES, ["why"]), "params.yaml") == VALUES


@pytest.mark.parametrize("change", [("why", "because"), ("cosine", "linear"), ("warmup: ", "warmup:  ")])
def test_any_edit_is_seen(change: tuple[str, str]) -> None:
    written = to_text(VALUES, ["why"])
    assert is_as_written(written)
    assert not is_as_written(written.replace(*change))
    assert not is_as_written("data: {}\n")
