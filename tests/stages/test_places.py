"""A project in a folder of an unusual name, and in a shell of unusual variables: the same bytes, and nothing
outside it.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from pipeline.base.files import sha256_file
from pipeline.base.stage import Stage
from pipeline.pretrained.registered import registered_model
from pipeline.registry.candidates import read_inputs
from pipeline.registry.register import register, registered_versions
from pipeline.storage import Storage
from pipeline.tracking.local import database_file, local_uri, sqlite_uri
from pipeline.tracking.records import all_journals, read_record
from pipeline.tracking.ui import ui
from tests.support.figures_samples import evaluated_project, register_params

ROOT = Path(__file__).parents[2]
NAME = "a b?c#d%20ü"
HOSTILE = {
    "ARROW_PRE_0_15_IPC_FORMAT": "1",
    "LC_ALL": "C",
    "MLFLOW_EXPERIMENT_ID": "4711",
    "MLFLOW_REGISTRY_URI": "http://127.0.0.1:1",
    "MLFLOW_RUN_ID": "0" * 32,
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONHASHSEED": "7",
    "PYTHONIOENCODING": "ascii",
    "PYTHONOPTIMIZE": "1",
    "PYTHONWARNINGS": "error",
    "TZ": "Pacific/Auckland",
}
MATPLOTLIBRC = "figure.facecolor: red\naxes.grid: True\nbackend: svg\n"
DELIVERY_S = 120.0


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of that name, in which this process works."""
    (tmp_path / NAME).mkdir()
    monkeypatch.chdir(tmp_path / NAME)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / NAME


def prepared(root: Path, **environment: str) -> dict[str, str]:
    """Digests of what the stage `prepare` leaves in a copy of this project, when its journal is delivered
    too.
    """
    for name in ("pipeline", "stages", "data/raw", "presets"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "cifar*"))
    shutil.copy(ROOT / "dvc.yaml", root / "dvc.yaml")
    shutil.copy(root / "presets/digits.yaml", root / "params.yaml")
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTHON", "LC_"))
    }
    words = [sys.executable, "-m", "stages.prepare"]
    done = subprocess.run(
        words, cwd=root, env=clean | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (journal,) = all_journals(root)
    deadline = time.monotonic() + DELIVERY_S
    while not read_record(journal).delivered:
        assert time.monotonic() < deadline, "the journal is not delivered"
        time.sleep(0.2)
    files = [
        path
        for folder in ("data/prepared", "reports/data")
        for path in (root / folder).rglob("*")
        if path.is_file()
    ]
    return {path.relative_to(root).as_posix(): sha256_file(path) for path in files}


def test_prepare_leaves_the_same_bytes_whatever_the_folder_and_the_shell(root: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    expected = prepared(tmp_path / "plain")
    (root / "matplotlibrc").write_text(MATPLOTLIBRC)
    assert prepared(root, **HOSTILE) == expected
    assert len(expected) > 5
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([NAME, "plain"])
    assert (root / ".espalier/mlflow/mlflow.db").exists()
    artifacts = {path.name for path in (root / ".espalier/mlflow/artifacts").rglob("*") if path.is_file()}
    assert "card.md" in artifacts
    assert not (root / "file:").exists()


def test_a_model_is_registered_and_found_in_such_a_folder(root: Path, tmp_path: Path) -> None:
    stage = Stage("register", evaluated_project(root))
    tensors = {"head.weight": torch.arange(6.0).view(2, 3)}
    # Beside an ONNX file, for the test.
    safetensors.torch.save_file(tensors, root / "artifacts/dense/weights.safetensors")
    registration = register(register_params(), stage, read_inputs(stage))
    assert registration.versions == {"dense": 1, "finetuned": 2, "quantized": 3}
    assert len(registered_versions(root, "tiny")) == 3
    with registered_model("models:/tiny@dense", root) as folder:
        assert safetensors.torch.load_file(folder / "weights.safetensors")["head.weight"].equal(
            tensors["head.weight"]
        )
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert not (root / "file:").exists()


def test_files_of_a_storage_in_such_a_folder_stay_in_it(root: Path, tmp_path: Path) -> None:
    for place in (root / "shared", root / "two::parts"):
        place.mkdir()
        storage = Storage(str(place))
        storage.check()
        storage.write("deep?/a%20b", b"x")
        assert (storage.names(), storage.read("deep?/a%20b")) == (["deep?/a%20b"], b"x")
        storage.remove("deep?")
        assert storage.names() == []
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("name", ["plain", "a b", "c#d", "ü"])
def test_an_address_of_a_usual_path_is_that_path(tmp_path: Path, name: str) -> None:
    assert sqlite_uri(tmp_path / name / "x.db") == f"sqlite:///{tmp_path}/{name}/x.db"


def test_the_address_of_the_database_leads_back_to_it(root: Path, tmp_path: Path) -> None:
    database = root / ".espalier/mlflow/mlflow.db"
    assert local_uri(root) == "sqlite:///.espalier/mlflow/mlflow.db"
    assert local_uri(root, root / ".espalier/frontier/x") == "sqlite:///../../mlflow/mlflow.db"
    assert database_file(local_uri(root)) == database
    assert database_file(local_uri(root, tmp_path)) == database
    server = ui(Path(), 5000, "10.1.2.3", {"MLFLOW_AUTH_ADMIN_PASSWORD": "a long password"})
    assert server.environment["MLFLOW_BACKEND_STORE_URI"] == local_uri(root)
