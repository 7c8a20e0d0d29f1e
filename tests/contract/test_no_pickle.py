"""Nothing on disk is a pickle: no name that reads or writes one stands in the code, and files are searched
for one.
"""

import ast
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.contract.names import used
from tests.support.pickles import pickles

ROOT = Path(__file__).parents[2]
FOLDERS = ("pipeline", "stages", "examples", "benchmarks", "infra")
FORBIDDEN = {
    "pickle", "_pickle", "cloudpickle", "ray.cloudpickle", "dill", "joblib", "shelve", "marshal",
    "torch.load", "torch.save", "torch.serialization",
    "torch.jit.load", "torch.jit.save", "torch.export.load",
    "torch.package", "torch.hub", "numpy.load", "numpy.save", "numpy.savez", "numpy.savez_compressed",
    "mlflow.pytorch", "mlflow.sklearn", "yaml.Loader", "yaml.UnsafeLoader", "yaml.unsafe_load",
    "eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
}  # fmt: skip
"""With all that is below them. It is a fault to import one, to call it, and to hand it on."""
MUST_BE_FALSE = {"shell", "allow_pickle"}
"""Keywords."""


def faults(root: Path) -> list[str]:
    files = sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.py"))
    return [
        f"{path.relative_to(root)}: {fault}"
        for path in files
        for fault in faults_in(path.read_text(encoding="utf-8"))
    ]


def faults_in(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    words = [(node, word) for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords]
    safe = {node.func for node, word in words if word.arg == "allow_pickle" and _is_false(word.value)}
    yield from (
        name
        for name, node in used(tree)
        if _is_forbidden(name) and not (name == "numpy.load" and node in safe)
    )
    yield from (
        f"{word.arg}=" for _, word in words if word.arg in MUST_BE_FALSE and not _is_false(word.value)
    )


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def _is_forbidden(name: str) -> bool:
    """It, or something above it; `torch.*` stands for all of torch."""
    parts = name.split(".")
    owners = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return bool(owners & FORBIDDEN) or (
        parts[-1] == "*" and any(each.startswith(name[:-1]) for each in FORBIDDEN)
    )


def test_no_pickle_and_no_shell() -> None:
    assert faults(ROOT) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_injected_pickle_and_an_injected_shell_are_found_in_every_folder(
    tmp_path: Path, folder: str
) -> None:
    (tmp_path / folder / "deep").mkdir(parents=True)
    bad = (
        "import subprocess, torch\n\ndef read(path):\n    subprocess.run(path, shell=True)\n    return "
        "torch.load(path)\n"
    )
    (tmp_path / folder / "deep" / "bad.py").write_text(bad)
    assert faults(tmp_path) == [f"{folder}/deep/bad.py: torch.load", f"{folder}/deep/bad.py: shell="]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from torch import load\nload(p)", "torch.load"),
        ("from torch import save as write\nwrite(x, p)", "torch.save"),
        ("import torch as t\nt.load(p)", "torch.load"),
        ("import torch\nread = torch.load", "torch.load"),
        ("import torch\nt = torch\nt.save(x, p)", "torch.save"),
        ("import torch\ngetattr(torch, 'load')(p)", "torch.load"),
        ("import torch.serialization as s\ns.load(p)", "torch.serialization.load"),
        ("from torch import serialization", "torch.serialization"),
        ("from torch import *", "torch.*"),
        ("import torch.export\ntorch.export.load(p)", "torch.export.load"),
        ("def f():\n    import pickle as p\n    p.loads(b)", "pickle.loads"),
        ("import cloudpickle\ncloudpickle.dumps(x)", "cloudpickle.dumps"),
        ("from ray import cloudpickle", "ray.cloudpickle"),
        ("import importlib\nimportlib.import_module('dill')", "dill"),
        ("__import__('pickle').loads(b)", "pickle.loads"),
        ("import mlflow\nmlflow.pytorch.save_model(m, p)", "mlflow.pytorch.save_model"),
        ("from mlflow.pytorch import log_model", "mlflow.pytorch.log_model"),
        ("import numpy as np\nnp.load(p)", "numpy.load"),
        ("import numpy as np\nnp.load(p, allow_pickle=True)", "allow_pickle="),
        ("import numpy as np\nnp.load(p, allow_pickle=flag)", "allow_pickle="),
        ("import yaml\nyaml.load(t, Loader=yaml.UnsafeLoader)", "yaml.UnsafeLoader"),
        ("eval(text)", "eval"),
        ("import builtins\nbuiltins.exec(text)", "exec"),
        ("from os import system", "os.system"),
        ("import subprocess as s\ns.run(text, shell=flag)", "shell="),
    ],
)
def test_a_fault_is_found_however_it_is_written(source: str, name: str) -> None:
    assert name in list(faults_in(source))


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.load(p, allow_pickle=False)",
        "import numpy as np\nnp.loadtxt(p)",
        "import torch\nmodel = torch.nn.Linear(1, 1)\nmodel.eval()\nmodel.load_state_dict(x)",
        "import safetensors.torch\nsafetensors.torch.load(b)\nsafetensors.torch.save_file(x, p)",
        "from ruamel.yaml import YAML\nyaml = YAML()\nyaml.load(p)",
        "import subprocess\nsubprocess.run(words, shell=False)",
        "import mlflow\nmlflow.pyfunc.save_model(p, python_model='file.py')",
        "text = 'import pickle; torch.load(p)'",
    ],
)
def test_what_is_no_fault_is_let_be(source: str) -> None:
    assert list(faults_in(source)) == []


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(pickle.dumps({"a": 1}, protocol=2)),
        lambda path: path.write_bytes(pickle.dumps([Path("x")])),
        lambda path: path.write_bytes(pickle.dumps(1) + b"what is appended to one hides it"),
        lambda path: torch.save({"weight": torch.zeros(2)}, path),
        lambda path: torch.save({"weight": torch.zeros(2)}, path, _use_new_zipfile_serialization=False),
        lambda path: torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.zeros(2),)), path),
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
