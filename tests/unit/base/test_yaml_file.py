"""params.yaml means here what it means in DVC, and whatever it holds ends in values or one message."""

from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import load_yaml, loads_yaml, modify_yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml.error import YAMLError

from pipeline.base.yaml_file import DEEPEST, LARGEST_FILE, parse_yaml, read_yaml
from pipeline.errors import ParamsError
from pipeline.schema import check_params, check_values
from tests.support.places import ROOT

MEANINGS: dict[str, Any] = {
    "1e-05": 1e-05,
    "1E5": 1e5,
    "1e+5": 1e5,
    ".5": 0.5,
    "1.": 1.0,
    "010": 10,
    "0o10": 8,
    "0x1F": 31,
    "0b11": 3,
    "1_000": 1000,
    "1:30": "1:30",
    "on": "on",
    "off": "off",
    "yes": "yes",
    "NO": "NO",
    "y": "y",
    "true": True,
    "FALSE": False,
    "~": None,
    "null": None,
    "": None,
    "'null'": "null",
    "-.inf": float("-inf"),
}
LOOKS = [*MEANINGS, "2026-11-29", "2026-11-29 10:00:00", "+5", "-.5", "1e400", "0o9"]
UNREADABLE = ["-_", "2026-13-45", "._", "0b_", "=", "<<"]
PUNCTUATION = [": ", "- ", "\n", "\n  ", "[", "]", "{", "}", ", ", "&x ", "*x", "!!set ", "? ", "#"]
BOMB = "\n".join(
    ["a0: &a0 [x, x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9))]
)
MERGES = "\n".join(
    ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 9))]
)


@pytest.mark.parametrize(("text", "means"), MEANINGS.items())
def test_a_scalar_means_what_it_means_in_dvc(text: str, means: Any) -> None:
    found = parse_yaml(f"a: {text}", "params.yaml")["a"]
    assert (found, type(found)) == (means, type(means))
    assert loads_yaml(f"a: {text}") == {"a": means}


@pytest.mark.parametrize(
    "text",
    [
        *(f"a: {look}" for look in LOOKS),
        "a: {b: &x {c: 1, d: 2}, e: {<<: *x, c: 3}}",
        "%YAML 1.1\n---\na: yes\nb: 010\n",
        "\ufeffa: 1",
        "a: 1\r\nb: [2,\r\n  3]\r\n",
        "a: |\n  x\n  y\nb: >-\n  x\n  y\n",
        "a:\t1",
        "a: 1\n...\n",
    ],
)
def test_a_file_means_what_it_means_in_dvc(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode())
    assert read_yaml(path) == load_yaml(path)


@pytest.mark.parametrize("value", [0.00001, 1e-07, 1e22, 3.0, 5e-324])
def test_what_dvc_writes_is_read(tmp_path: Path, value: float) -> None:
    """`dvc exp run -S train.optimizer.weight_decay=0.00001` writes 1e-05, in which YAML 1.1 sees a word."""
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "presets/digits.yaml").read_text())
    with modify_yaml(path) as values:
        values["train"]["optimizer"]["weight_decay"] = value
    assert read_yaml(path)["train"]["optimizer"]["weight_decay"] == value
    if value <= 1:
        check_params(path)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*LOOKS, *UNREADABLE, "a", *PUNCTUATION])))
@example(["a", ": ", "1", "\n", "01", ": ", "2"])
def test_any_text_is_what_dvc_reads_or_one_message(tokens: list[str]) -> None:
    text = "".join(tokens)
    try:
        found = parse_yaml(text, "params.yaml")
    except ParamsError as error:
        assert str(error).startswith("params.yaml: ")  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert repr(found) == repr(loads_yaml(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not valid YAML: line 2: .*flow sequence"),
        ("", "expected sections .*, found nothing"),
        ("# nothing but a comment", "found nothing"),
        ("- 1", "expected sections .*, found list"),
        ("word", "found str"),
        ("a: 1\na: 2", "line 2: key 'a' is written twice; keep one"),
        ("a: {b: 1,\n  b: 2}", "line 2: key 'b' is written twice"),
        ("x: &x {c: 1}\ny:\n  <<: *x\n  a: 1\n  a: 2", "line 5: key 'a' is written twice"),
        ("1: s3cret\n01: s3cret", 'line 2: .*duplicate key "1"$'),
        ("a: !!python/object/apply:os.getcwd []", "line 1: .*os.getcwd is a tag"),
        ("a: !!omap [b: 1, b: 2]", "is a tag"),
        ("? [a]\n: 1", "line 1: a key must be a word"),
        ("a: 1\n---\nb: 2", "line 2: expected a single document"),
        ("a:\n\tb: 1", "line 2: .*cannot start any token"),
        ("a: \0", "control characters are not allowed"),
        ("a: *x", "line 1: found undefined alias"),
        ("a: &x [*x]", r"line 1: \*x stands for what it is in"),
        ("a: 1\nb: 2026-13-45", "line 2 looks like a number or date"),
        ("a: " + "9" * 5000, "line 1 looks like a number"),
        ("a: 0x" + "f" * 5000, "line 1: a number of more than 1,000 digits"),
        (BOMB, "line 6: more than 100,000 values"),
        (MERGES, "line 6: more than 100,000 values"),
        ("[" * 1_000, f"line 1: nested deeper than {DEEPEST}"),
        ("- " * 100_000, f"line 1: nested deeper than {DEEPEST}"),
        ("a: " + "x" * LARGEST_FILE, "longer than 1,000,000 characters"),
    ],
)
def test_what_cannot_be_read_is_one_message(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=message) as caught:
        read_yaml(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_file_of_another_encoding_and_a_folder_are_one_message(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes("a: é".encode("latin-1"))
    with pytest.raises(ParamsError, match="not UTF-8"):
        read_yaml(tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").mkdir()
    with pytest.raises(ParamsError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path / "dvc.yaml")


@pytest.mark.parametrize("key", [1, None, 1.5, True])
def test_a_section_whose_name_is_no_word_is_named(key: Any) -> None:
    with pytest.raises(ParamsError, match=f"unknown section '{key}'"):
        check_values({key: {}}, "params.yaml")


def test_the_loader_alone_lets_pass_what_is_refused() -> None:
    """Without the look at the outline: the last of two keys wins beside `<<`, and a bomb is a value of 100
    million.
    """
    assert loads_yaml("x: &x {c: 1}\ny: {<<: *x, a: 1, a: 2}")["y"] == {"c": 1, "a": 2}
    assert len(loads_yaml(BOMB)["a8"]) == 9
    with pytest.raises(YAMLError):
        loads_yaml("a: 1\na: 2")
