"""Which network weights are of is found out, and params.yaml is written for it."""

from pathlib import Path

import pytest
import safetensors.torch
import timm

from pipeline.base.yaml_file import read_yaml
from pipeline.errors import ArtifactError
from pipeline.init.init import write_fitting_params
from pipeline.pretrained.network import network_of
from tests.support.data_samples import encoded, photo
from tests.support.places import ROOT
from tests.support.source_samples import write_files

SMALL = "test_efficientnet"
"""A network of timm's that is built in no time."""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / f"{SMALL}.safetensors"
    safetensors.torch.save_file(timm.create_model(SMALL).state_dict(), path)
    return path


def photos(root: Path) -> None:
    write_files(
        root / "data/raw/x", {f"{'ab'[n % 2]}x/{n}.jpg": encoded(photo(n, 64, 64), "JPEG") for n in range(40)}
    )


def test_weights_are_of_the_network_that_their_file_is_called_after(weights: Path) -> None:
    assert network_of(weights) == f"timm/{SMALL}"


def test_params_start_from_weights_that_are_named(weights: Path, tmp_path: Path) -> None:
    photos(tmp_path)
    said = write_fitting_params("data/raw/x", tmp_path, ROOT / "presets", str(weights))
    values = read_yaml(tmp_path / "params.yaml")
    assert (values["model"]["name"], values["model"]["init"]) == (f"timm/{SMALL}", "file")
    assert values["data"]["height"] == 224
    assert values["train"]["head_first_epochs"] > 0
    assert (tmp_path / "data/init/weights.safetensors").exists()
    assert "parameters from test_efficientnet.safetensors" in said


def test_weights_that_cannot_be_read_leave_all_as_it_was(tmp_path: Path) -> None:
    photos(tmp_path)
    (tmp_path / "x.safetensors").write_bytes(b"x")
    with pytest.raises(ArtifactError, match="not a readable safetensors file"):
        write_fitting_params("data/raw/x", tmp_path, ROOT / "presets", str(tmp_path / "x.safetensors"))
    assert not (tmp_path / "params.yaml").exists()
    assert not (tmp_path / "data/init").exists()
