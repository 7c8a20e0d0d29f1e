"""A kind of problem is new files: words of one kind stay in the rooms that may know a kind."""

from pathlib import Path

import pytest

from tests.support.kinds import kind_words

ROOT = Path(__file__).parents[2]
EXCEPTED = {
    "pipeline/data/prepared/reader.py": 6,
    "pipeline/evaluate/views.py": 3,
    "pipeline/export/onnx.py": 2,
    "pipeline/registry/params.py": 1,
}
"""Files outside the rooms that still have such words, and how many. The numbers only shrink."""


def test_words_of_a_kind_of_problem_do_not_spread() -> None:
    found = kind_words(ROOT)
    grown = {path: count for path, count in found.items() if count > EXCEPTED.get(path, 0)}
    assert grown == {}, "say it in general (score, outputs, targets, strata), or through the task"
    assert found == EXCEPTED, "fewer are left than are excepted; lower the numbers"


@pytest.mark.parametrize("word", ["top1", "num_classes", "labels_B", "images_BCHW", "logits", "val_top1"])
def test_a_word_in_another_room_is_found(tmp_path: Path, word: str) -> None:
    for place in ("pipeline/train/loop.py", "pipeline/tasks/boxes.py", "pipeline/data/fields/mask.py"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(f"{word} = 0\n")
    assert kind_words(tmp_path) == {"pipeline/train/loop.py": 1}
