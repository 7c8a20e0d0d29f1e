"""Notes of a task come back from model.json as they went in, and of no other kind."""

import json
from typing import Any

import pytest

from pipeline.errors import ArtifactError
from pipeline.tasks.description.params import notes_of
from tests.support.served_samples import NOTES, SIZE


@pytest.mark.parametrize("kind", NOTES)
def test_notes_survive_json(kind: str) -> None:
    assert notes_of(json.loads(NOTES[kind].model_dump_json())) == NOTES[kind]


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ({"name": "segmentation"}, r"model\.json: task: .*'segmentation'.*make the model again"),
        ({"name": "classification"}, r"model\.json: task: classification\.classes: field required"),
        ({**SIZE.model_dump(), "std": 0.0}, r"model\.json: task: regression\.std: .*greater than 0"),
        ({}, r"model\.json: task: .*unable to extract tag"),
    ],
)
def test_notes_of_no_kind_are_refused(task: dict[str, Any], says: str) -> None:
    with pytest.raises(ArtifactError, match=says):
        notes_of(task)
