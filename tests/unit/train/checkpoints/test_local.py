"""Checkpoints on a disk: the newest that is whole."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.train.checkpoints.local import LocalStore


def tensors(value: float) -> dict[str, Tensor]:
    return {"w": torch.full((3,), value)}


def test_newest_verified_checkpoint_wins(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert store.newest() is None
    for step in (1, 2, 3):
        store.save(step, tensors(step), {"step": step})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000002", "step-000000003"]
    found = store.newest()
    assert found is not None
    assert found[0]["w"].tolist() == [3.0, 3.0, 3.0]
    assert found[1] == {"step": 3}


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["state.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, file: str, damage: str
) -> None:
    store = LocalStore(tmp_path)
    for step in (1, 2):
        store.save(step, tensors(step), {"step": step})
    path = tmp_path / "step-000000002" / file
    if damage == "flip" and file == "manifest.json":
        path.write_text(json.dumps({"state.json": "0" * 64, "state.safetensors": "0" * 64}))
    elif damage == "flip":
        _flip(path)
    elif damage == "truncate":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        path.unlink()
    found = store.newest()
    assert found is not None
    assert found[1] == {"step": 1}
