"""Messages keep no secret."""

import pytest

from pipeline.errors import shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:secret@db:5432/mlflow", "postgresql://db:5432/mlflow"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("no answer at https://me:p@ss@host/a, ask me@host", "no answer at https://host/a, ask me@host"),
        ("http://token@host:1 and http://u:p@other", "http://host:1 and http://other"),
        ("/shared/a@b", "/shared/a@b"),
    ],
)
def test_an_address_is_shown_without_its_user(text: str, expected: str) -> None:
    assert shown(text) == expected
