"""Weights to start from: what fits is taken over, what does not is named, and none is ever unpickled."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml
from torch import nn

from pipeline.base.files import sha256_file
from pipeline.errors import ArtifactError, ParamsError, UnreachableError
from pipeline.models.description.spec import Architecture
from pipeline.models.disk.weights import load_model
from pipeline.models.nets.build import build
from pipeline.pretrained.bring import bring
from pipeline.train.initial import fill
from pipeline.train.job import dense_spec
from pipeline.train.loop import fit
from pipeline.train.transport.collect import collect_result
from tests.support.fit_samples import BASE, CLASSIFICATION, CONVOLUTIONS, changed_job, job, prepared_digits
from tests.support.places import ROOT


def network(**changes: Any) -> nn.Module:
    torch.manual_seed(changes.pop("seed", 0))
    sizes = {"num_outputs": 10, "channels": 1, "image_height": 8, "image_width": 8}
    named = {"name": "vgg11", "width": 4, "dropout": 0.0, "stochastic_depth": 0.0}
    return build(Architecture.model_validate(named | sizes | changes))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    params = yaml.safe_load((ROOT / "presets/digits.yaml").read_text())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    name_model(tmp_path, "vgg11", channels=1, width=4)
    return tmp_path


def name_model(root: Path, name: str, channels: int = 3, width: int = 16) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["model"] |= {"name": name, "width": None if "/" in name else width}
    params["data"]["channels"] = channels
    (root / "params.yaml").write_text(yaml.safe_dump(params))


def test_all_is_taken_over_and_a_head_for_other_classes_stays_random() -> None:
    source, same, other = network(seed=1), network(seed=2), network(seed=3, num_outputs=4)
    fill(same, source.state_dict(), "x")
    assert all(tensor.equal(source.state_dict()[name]) for name, tensor in same.state_dict().items())
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    fill(other, source.state_dict(), "x")
    for name, tensor in other.state_dict().items():
        assert tensor.equal(before[name] if name.startswith("head.") else source.state_dict()[name]), name


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"name": "resnet20"},
            r"x: lacks stages\.0\.0\.conv\.weight, .* and \d+ more; it is of another network",
        ),
        ({"width": 8}, r"x: has in another shape stages\.0\.0\.conv\.weight, "),
    ],
)
def test_another_network_is_refused_with_what_differs(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ArtifactError, match=says):
        fill(network(), network(**changes).state_dict(), "x")


def test_a_file_and_a_model_folder_are_brought_with_their_origin(root: Path) -> None:
    (root / "elsewhere").mkdir()
    file = root / "elsewhere" / "weights.safetensors"
    safetensors.torch.save_file(network().state_dict(), file)
    said = bring(str(file), root)
    assert "from weights.safetensors; `model.init: file` trains from them" in said
    brought = root / "data/init/weights.safetensors"
    origin = json.loads((root / "data/init/origin.json").read_text())
    assert origin == {"source": "weights.safetensors", "sha256": sha256_file(brought)}
    first = brought.read_bytes()
    bring(str(file.parent), root)
    assert brought.read_bytes() == first


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module.backbone."])
def test_a_prefix_of_all_names_is_taken_off_and_named(root: Path, prefix: str) -> None:
    weights = network(num_outputs=7).state_dict()
    safetensors.torch.save_file(
        {f"{prefix}{name}": tensor for name, tensor in weights.items()}, root / "wrapped.safetensors"
    )
    assert f"without the {prefix!r} that its names began with" in bring(
        str(root / "wrapped.safetensors"), root
    )
    brought = safetensors.torch.load_file(root / "data/init/weights.safetensors")
    fill(network(), brought, "x")
    assert brought.keys() == weights.keys()


def test_a_prefix_that_came_by_another_way_is_named_with_what_takes_it_off() -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in network().state_dict().items()}
    with pytest.raises(
        ArtifactError,
        match=r"x: lacks .*; its names begin with 'module\.', which `espalier weights` takes off",
    ):
        fill(network(), wrapped, "x")


def test_weights_of_another_network_are_refused_when_they_are_brought(root: Path) -> None:
    wider = network(width=8).state_dict()
    safetensors.torch.save_file(
        {f"module.{name}": tensor for name, tensor in wider.items()}, root / "wide.safetensors"
    )
    with pytest.raises(
        ArtifactError, match=r"wide\.safetensors: lacks .*name that in the section `model`, with its width"
    ):
        bring(str(root / "wide.safetensors"), root)
    assert not (root / "data/init").exists()
    name_model(root, "vgg11", channels=1, width=8)
    assert "without the 'module.'" in bring(str(root / "wide.safetensors"), root)


def test_a_pickle_is_refused_and_what_was_there_stays(root: Path) -> None:
    safetensors.torch.save_file(network().state_dict(), root / "good.safetensors")
    bring(str(root / "good.safetensors"), root)
    before = (root / "data/init/weights.safetensors").read_bytes()
    torch.save(network().state_dict(), root / "bad.safetensors")
    with pytest.raises(ArtifactError, match=r"bad\.safetensors: not a readable safetensors file"):
        bring(str(root / "bad.safetensors"), root)
    with pytest.raises(ArtifactError, match=r"gone\.safetensors: not a readable safetensors file"):
        bring(str(root / "gone.safetensors"), root)
    assert (root / "data/init/weights.safetensors").read_bytes() == before


def test_torchvisions_weights_come_from_its_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where torchvision keeps its downloads stands for the download."""
    from torchvision import models

    monkeypatch.setenv("TORCH_HOME", str(root / "torch"))
    cached = (
        root
        / "torch/hub/checkpoints"
        / models.get_model_weights("squeezenet1_1")["DEFAULT"].url.rpartition("/")[2]
    )
    cached.parent.mkdir(parents=True)
    weights = models.get_model("squeezenet1_1").state_dict()
    torch.save(weights, cached)
    name_model(root, "torchvision/squeezenet1_1")
    assert "from pretrained torchvision/squeezenet1_1" in bring("pretrained", root)
    brought = safetensors.torch.load_file(root / "data/init/weights.safetensors")
    assert brought.keys() == weights.keys()
    assert all(tensor.equal(weights[name]) for name, tensor in brought.items())


def test_what_has_no_pretrained_weights_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ParamsError, match=r"model\.name is 'vgg11', and only timm/<name> and torchvision/<name> come with"
    ):
        bring("pretrained", root)
    name_model(root, "torchvision/squeezenet1_1", channels=1)
    with pytest.raises(
        ArtifactError, match=r"torchvision's weights take 3 channels, but data\.channels is 1"
    ):
        bring("pretrained", root)

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.create_model", offline)
    name_model(root, "timm/resnet18")
    with pytest.raises(
        UnreachableError, match=r"no pretrained weights of timm/resnet18 could be fetched \(OSError: no route"
    ):
        bring("pretrained", root)


def brought(folder: Path, model: nn.Module) -> Path:
    """Weights with an origin.json beside them, as `espalier weights` leaves them."""
    source = folder / "weights.safetensors"
    safetensors.torch.save_file(model.state_dict(), source)
    (folder / "origin.json").write_text(json.dumps({"source": "x", "sha256": sha256_file(source)}))
    return source


@pytest.mark.parametrize("damage", ["flip", "truncate", "exchange", "no origin", "torn origin"])
def test_weights_that_are_not_as_they_were_brought_are_refused(tmp_path: Path, damage: str) -> None:
    data, source = prepared_digits(tmp_path), brought(tmp_path, network())
    dense_spec(CONVOLUTIONS, CLASSIFICATION, data, source)
    content, origin = source.read_bytes(), source.with_name("origin.json")
    if damage == "no origin":
        origin.unlink()
    elif damage == "torn origin":
        origin.write_bytes(origin.read_bytes()[:20])
    elif damage == "exchange":
        safetensors.torch.save_file(network(seed=5).state_dict(), source)
    else:
        source.write_bytes(content[:-4] if damage == "truncate" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(
        ArtifactError,
        match=r"(weights.safetensors: not what|origin.json: missing or damaged).*`espalier weights`",
    ):
        dense_spec(CONVOLUTIONS, CLASSIFICATION, data, source)


def test_a_worker_refuses_weights_that_changed_after_the_start(tmp_path: Path) -> None:
    data, source = prepared_digits(tmp_path), brought(tmp_path, network(dropout=0.1))
    spec = dense_spec(CONVOLUTIONS, CLASSIFICATION, data, source)
    source.write_bytes(source.read_bytes()[:-1] + b"x")
    begun = changed_job(job(data, tmp_path / "run", model=CONVOLUTIONS), spec=spec, init=source)
    with pytest.raises(ArtifactError, match="not the file that this run began with"):
        fit(begun, "cpu", 1)


def test_training_starts_from_the_file_and_says_so_in_the_lineage(tmp_path: Path) -> None:
    data = prepared_digits(tmp_path)
    source = brought(tmp_path, network(dropout=0.1))
    still = {"optimizer": BASE["optimizer"] | {"lr": 1e-30, "momentum": 0.0}, "epochs": 1}
    expected = network(dropout=0.1).state_dict()
    the_job = job(data, tmp_path / "run", model=CONVOLUTIONS, **still)
    spec = dense_spec(CONVOLUTIONS, CLASSIFICATION, data, source)
    assert spec.ancestors["init"] == sha256_file(source)
    fit(changed_job(the_job, spec=spec, init=source), "cpu", 1)
    collect_result(the_job, tmp_path / "model", tmp_path / "history.csv")
    trained = load_model(tmp_path / "model")[1]
    for name, parameter in trained.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], atol=1e-20, rtol=0.0)


def test_a_missing_file_is_said_before_anything_starts(tmp_path: Path) -> None:
    data = prepared_digits(tmp_path)
    with pytest.raises(
        ArtifactError, match=r"model\.init is file, but there is no .*; bring one with `espalier weights`"
    ):
        dense_spec(CONVOLUTIONS, CLASSIFICATION, data, tmp_path / "weights.safetensors")
