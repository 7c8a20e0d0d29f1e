"""Messages keep no secret."""

import pytest

from pipeline.errors import redacted, secret_in


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
    assert redacted(text) == expected


def test_a_presigned_address_is_shown_without_what_lets_one_in() -> None:
    signed = "s3://b/k?X-Amz-Credential=AKIA&X-Amz-Date=1&X-Amz-Signature=00ff or https://a/b?sv=1&sig=x%2B"
    assert (
        redacted(signed)
        == "s3://b/k?X-Amz-Credential=***&X-Amz-Date=1&X-Amz-Signature=*** or https://a/b?sv=1&sig=***"
    )


def test_values_of_secret_variables_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_TOKEN", "tops3cret")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/home/me/token")
    monkeypatch.setenv("SHORT_KEY", "a")
    said = "the server said {}; see /home/me/token"
    assert redacted(said.format("tops3cret")) == said.format("***")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("s3://bucket/prefix", None),
        ("ssh://me@host/data", None),
        ("models:/digits@champion", None),
        ("postgresql://me:secret@db/mlflow", "a user name or password in an address"),
        ("s3://AKIA@bucket", "a user name or password in an address"),
        ("https://a/b.parquet?sv=1&sig=x", "a signature or token in an address"),
        ("https://a/b.parquet?sort=key", None),
        ("it is tops3cret!", "the value of SOME_API_TOKEN"),
    ],
)
def test_a_secret_is_found_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, text: str, secret: str | None
) -> None:
    monkeypatch.setenv("SOME_API_TOKEN", "tops3cret")
    assert secret_in(text) == secret
