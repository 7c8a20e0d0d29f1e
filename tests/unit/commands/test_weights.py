"""`espalier weights`."""

import json
from pathlib import Path

import pytest

from pipeline.cli import parser
from pipeline.errors import ArtifactError


def test_a_model_folder_of_before_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    (tmp_path / "old/model.json").write_text(json.dumps({"format": 3, "classes": ["a", "b"]}))
    arguments = parser().parse_args(["weights", "--teacher", "old"])
    with pytest.raises(ArtifactError, match=r"old/model.json: format 3 is unknown .*; make the model again"):
        arguments.command(arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
