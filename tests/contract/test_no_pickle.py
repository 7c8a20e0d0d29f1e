"""Nothing on disk is a pickle: no call that reads or writes one stands in the code, and files are searched for one."""

import ast
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.pickles import pickles

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "pickle.load", "pickle.loads", "pickle.dump", "pickle.dumps", "cloudpickle.load", "cloudpickle.dump", "dill.load",
    "torch.load", "torch.save", "torch.jit.load", "torch.export.load", "joblib.load", "joblib.dump", "yaml.unsafe_load",
    "numpy.load", "np.load", "mlflow.pytorch.log_model", "mlflow.sklearn.log_model", "eval", "exec", "os.system",
}  # fmt: skip


def calls(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)
            yield from ("shell=True" for word in node.keywords if word.arg == "shell" and ast.unparse(word.value) == "True")


def faults(root: Path) -> list[str]:
    files = sorted(path for folder in ("pipeline", "stages", "infra", "benchmarks") for path in (root / folder).rglob("*.py"))
    return [f"{path.relative_to(root)}: {call}" for path in files for call in calls(path) if call in FORBIDDEN | {"shell=True"}]


def test_no_pickle_and_no_shell() -> None:
    assert faults(ROOT) == []


def test_an_injected_pickle_and_an_injected_shell_are_found(tmp_path: Path) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "bad.py").write_text("torch.load(path)\nsubprocess.run(text, shell=True)\n")
    assert faults(tmp_path) == ["pipeline/bad.py: torch.load", "pipeline/bad.py: shell=True"]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(pickle.dumps({"a": 1}, protocol=2)),
        lambda path: path.write_bytes(pickle.dumps([Path("x")])),
        lambda path: path.write_bytes(pickle.dumps(1) + b"what is appended to one hides it"),
        lambda path: torch.save({"weight": torch.zeros(2)}, path),
        lambda path: torch.save({"weight": torch.zeros(2)}, path, _use_new_zipfile_serialization=False),
        lambda path: np.save(path.with_suffix(".npy"), np.zeros(2)),
    ],
)
def test_a_pickle_on_disk_is_found_whatever_its_name(tmp_path: Path, write: Callable[[Path], object]) -> None:
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "weights.safetensors")
    (found,) = pickles(tmp_path)
    assert found.startswith("folder/weights.")


def test_what_we_write_is_none(tmp_path: Path) -> None:
    safetensors.torch.save_file({"weight": torch.zeros(2)}, tmp_path / "weights.safetensors")
    (tmp_path / "model.json").write_text("{}")
    (tmp_path / "empty").touch()
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "unlucky").write_bytes(b"\x80\x05 starts like one.")
    assert pickles(tmp_path) == []
