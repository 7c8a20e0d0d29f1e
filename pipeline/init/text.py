"""params.yaml as text, in the layout of the presets, and whether somebody has edited it since."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.data.intake.trees.blob import printable_name

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
WORDS_OF_YAML = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""Words, in any case, that some reader takes for something else than a text."""
SIGNATURE = re.compile(r"# Unedited while the rest of this file has the digest ([0-9a-f]{16})\.\n")
SIGNATURE_DIGITS = 16


def to_text(values: Mapping[str, Any], comments: Sequence[str]) -> str:
    """Sections in their order, a line for each key."""
    lines = ["# yaml-language-server: $schema=params.schema.json"]
    lines += [f"# {printable_name(line)}" for line in comments]
    for section, keys in values.items():
        lines += ["", f"{section}:", *(f"  {key}: {_flow(value)}" for key, value in keys.items())]
    return _signed("\n".join(lines) + "\n")


def is_as_written(text: str) -> bool:
    """Whether a params file is, to the letter, what to_text() gave."""
    found = SIGNATURE.search(text)
    return found is not None and found[1] == _digest(text.replace(found[0], "", 1))


def _signed(text: str) -> str:
    first, _, rest = text.partition("\n")
    return f"{first}\n# Unedited while the rest of this file has the digest {_digest(text)}.\n{rest}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:SIGNATURE_DIGITS]


def _flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, str):
        plain = PLAIN.fullmatch(value) and value.lower() not in WORDS_OF_YAML
        return value if plain else json.dumps(value, ensure_ascii=not value.isprintable())
    if isinstance(value, float):
        return repr(value) if "e" not in repr(value) else f"{value:.12f}".rstrip("0")
    return json.dumps(value)
