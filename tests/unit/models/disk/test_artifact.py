"""A model goes to disk and comes back equal, and nothing else comes back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.base.files import sha256_file
from pipeline.base.records import sealed_json, unsealed
from pipeline.errors import ArtifactError
from pipeline.models.description.plan import KeptChannels
from pipeline.models.description.spec import Architecture, ModelSpec, Preprocessing, TensorSpec
from pipeline.models.disk.artifact import onnx_path, read_spec, save_onnx
from pipeline.models.disk.weights import load_model, save_model
from pipeline.models.nets.build import build, rebuild
from pipeline.models.nets.cut import apply_plan
from tests.support.data_samples import STRETCH


def spec_of(name: str = "resnet20", width: int = 4, **changed: Any) -> ModelSpec:
    architecture = Architecture(
        name=name,
        width=width,
        dropout=0.0,
        stochastic_depth=0.0,
        num_outputs=3,
        channels=1,
        image_height=8,
        image_width=8,
    )
    values: dict[str, Any] = {
        "architecture": architecture,
        "inputs": {"pixels": TensorSpec(shape=[1, 8, 8], meaning="pixels 0..255")},
        "outputs": {"logits": TensorSpec(shape=[3], meaning="a logit for each class")},
        "preprocessing": Preprocessing(resize=STRETCH, sixteen_bit="refuse", mean=[0.5], std=[0.25]),
        "task": {"classes": ["null", "één", "two"]},
        "plan": {},
        "ancestors": {"data": "0" * 64},
        "provenance": {"world_size": 2, "amp": "off", "torch": "2"},
    }
    return ModelSpec(**values | changed)


def trained(model: nn.Module) -> nn.Module:
    """The model with norm statistics that differ from a fresh one's."""
    model.train()(torch.rand(4, 1, 8, 8))
    return model.eval()


# The first block's inner channels are free: no shortcut ties them.
PLAN = {
    "stages.0.0.conv1": KeptChannels(out=[0, 2, 3]),
    "stages.0.0.norm1": KeptChannels(out=[0, 2, 3]),
    "stages.0.0.conv2": KeptChannels(in_=[0, 2, 3]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved dense model."""
    spec = spec_of()
    save_model(tmp_path / "dense", spec, trained(build(spec.architecture)))
    return tmp_path / "dense"


@pytest.mark.parametrize("name", ["airbench", "resnet20", "mobilenetv2", "vgg11", "mlp"])
def test_round_trip_is_bit_equal(tmp_path: Path, name: str) -> None:
    spec = spec_of(name, 8)
    model = trained(build(spec.architecture)).to(memory_format=torch.channels_last)
    saved = save_model(tmp_path / "m", spec, model)
    loaded_spec, loaded = load_model(tmp_path / "m")
    assert loaded_spec == saved == read_spec(tmp_path / "m")
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_pruned_model_comes_back_with_equal_outputs(tmp_path: Path) -> None:
    spec = spec_of(plan=PLAN)
    model = trained(apply_plan(build(spec.architecture), PLAN))
    save_model(tmp_path / "pruned", spec, model)
    _, loaded = load_model(tmp_path / "pruned")
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(loaded(images), model(images))
    assert loaded.get_parameter("stages.0.0.conv1.weight").shape == (3, 4, 3, 3)


def sparse_model(spec: ModelSpec, weight: str, kept: float) -> nn.Module:
    """A network that keeps a fraction of one parameter's weights."""
    model = trained(build(spec.architecture))
    parameter = model.get_parameter(weight)
    parameter.data[torch.rand(parameter.shape) >= kept] = 0.0
    return model


def test_pruned_weights_cost_a_bit_each(tmp_path: Path) -> None:
    weight = "stages.1.0.conv2.weight"
    spec = spec_of(width=32, sparse=[weight])
    model = sparse_model(spec, weight, 0.25)
    dense = save_model(tmp_path / "dense", spec.model_copy(update={"sparse": []}), model).weights
    sparse = save_model(tmp_path / "sparse", spec, model).weights
    assert dense is not None
    assert sparse is not None
    size, alive = model.get_parameter(weight).numel(), int(model.get_parameter(weight).count_nonzero())
    assert dense.size_bytes - sparse.size_bytes == pytest.approx(4 * (size - alive) - size / 8, abs=400)
    for key, value in load_model(tmp_path / "sparse")[1].state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda tensors, name: tensors.pop(name + ".bits"),
            "has no 'head.weight.bits' for the sparse tensor 'head.weight'",
        ),
        (lambda tensors, name: tensors.update({name + ".values": torch.zeros(1)}), "has 1 values for"),
        (
            lambda tensors, name: tensors.update({name + ".bits": torch.zeros(1, dtype=torch.uint8)}),
            "has bits for 8 positions",
        ),
    ],
)
def test_a_sparse_tensor_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Tensor], str], object], message: str
) -> None:
    spec = spec_of(sparse=["head.weight"])
    save_model(tmp_path / "m", spec, sparse_model(spec, "head.weight", 0.5))
    path = tmp_path / "m" / "weights.safetensors"
    tensors = safetensors.torch.load_file(path)
    change(tensors, "head.weight")
    safetensors.torch.save_file(tensors, path)
    weights = unsealed((tmp_path / "m" / "model.json").read_bytes())["weights"]
    edit(tmp_path / "m", weights=weights | {"sha256": sha256_file(path)})
    with pytest.raises(ArtifactError, match=message):
        load_model(tmp_path / "m")


def test_saving_twice_gives_equal_bytes(tmp_path: Path) -> None:
    spec = spec_of()
    model = trained(build(spec.architecture))
    save_model(tmp_path / "a", spec, model)
    save_model(tmp_path / "b", spec, model.to(memory_format=torch.channels_last))
    for name in ("model.json", "weights.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["model.json", "weights.safetensors"]


def test_spec_names_the_weights(folder: Path) -> None:
    spec = read_spec(folder)
    weights = folder / "weights.safetensors"
    assert spec.weights is not None
    assert spec.digest == spec.weights.sha256 == sha256_file(weights)
    assert spec.weights.size_bytes == weights.stat().st_size
    assert (spec.weights.kind, spec.weights.file) == ("torch", "weights.safetensors")


def test_json_round_trip() -> None:
    spec = spec_of(plan=PLAN)
    text = json.dumps(spec.model_dump(mode="json"))
    assert ModelSpec.model_validate_json(text) == spec
    assert '"in": [0, 2, 3]' in text


def test_rebuilding_leaves_the_random_state_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    rebuild(spec_of())
    assert torch.equal(torch.get_rng_state(), before)


def test_tied_weights_are_written_per_name(tmp_path: Path) -> None:
    spec = spec_of("mlp", 8)
    model = build(spec.architecture)
    model.get_submodule("stages.1.linear").bias = model.get_submodule("stages.0.linear").bias
    save_model(tmp_path / "m", spec, model)
    _, loaded = load_model(tmp_path / "m")
    assert torch.equal(
        loaded.get_parameter("stages.0.linear.bias"), loaded.get_parameter("stages.1.linear.bias")
    )


@pytest.mark.parametrize("position", [5, 40, 3000, -1])
def test_one_flipped_bit_is_noticed(folder: Path, position: int) -> None:
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert f"weights.safetensors: its SHA-256 is {sha256_file(path)}, model.json says" in message
    assert "the file is corrupt or was edited; run `espalier verify --mend`, then `dvc repro`" in message


def test_truncated_weights_are_noticed(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"weights\.safetensors: its SHA-256 is"):
        load_model(folder)


def test_missing_files_are_named(folder: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"nowhere: holds no model \(model.json is missing\); make it with `dvc repro`"
    ):
        load_model(folder.parent / "nowhere")
    (folder / "weights.safetensors").unlink()
    with pytest.raises(
        ArtifactError, match=r"weights.safetensors: cannot be read .*`espalier verify --mend`"
    ):
        load_model(folder)


def edit(folder: Path, **changed: Any) -> None:
    """Change keys of model.json, as a program could that seals it again."""
    found = unsealed((folder / "model.json").read_bytes())
    (folder / "model.json").write_text(sealed_json(found | changed))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("two", "too"),
        ('"world_size": 2', '"world_size": 3'),
        ('"seal"', '"sail"'),
    ],
)
def test_an_edit_by_hand_is_refused(folder: Path, before: str, after: str) -> None:
    path = folder / "model.json"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(
        ArtifactError, match=r"model\.json: (its content is not what its seal says|has no seal|seal: Extra)"
    ):
        read_spec(folder)


@pytest.mark.parametrize("older", [{"format": 3}, {"format": 4, "seal": "0" * 64}])
def test_a_model_of_an_earlier_layout_is_refused_with_the_way_to_a_new_one(
    folder: Path, older: dict[str, Any]
) -> None:
    (folder / "model.json").write_text(json.dumps({"classes": ["a", "b"], "mean": [0.5]} | older))
    with pytest.raises(
        ArtifactError, match=r"format \d is unknown .* reads 5 alone; make the model again, with `dvc repro`"
    ):
        load_model(folder)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": 6, "new_key": 1}, "model.json: format 6 is unknown to this version, which reads 5 alone"),
        ({"weights": None}, "model.json: names no weights file"),
        (
            {"outputs": {"logits": {"shape": [1], "meaning": ""}}},
            "outputs of 1 numbers for a network that gives 3",
        ),
        (
            {
                "preprocessing": {
                    "resize": {"rule": "stretch", "filter": "box"},
                    "sixteen_bit": "refuse",
                    "mean": [0.5, 0.5],
                    "std": [0.5],
                }
            },
            "2 means and 1 stds for 1 channels",
        ),
        (
            {
                "preprocessing": {
                    "resize": {"rule": "stretch", "filter": "box"},
                    "sixteen_bit": "refuse",
                    "mean": [0.5],
                    "std": [0.0],
                }
            },
            "preprocessing.std.0: Input should be",
        ),
        (
            {"plan": {"stem.conv": {"out": [1, 1]}}},
            "model.json: plan.stem.conv: Value error, kept channels 'out' must be rising",
        ),
        (
            {"plan": {"stme": {"out": [1]}}},
            "pruning plan: the network has no module 'stme'; did you mean 'stem'?",
        ),
        ({"plan": {"stem.conv": {"out": [1, 2]}}}, "weights.safetensors: its weights do not fit the network"),
    ],
)
def test_edited_spec_is_refused(folder: Path, changed: dict[str, Any], message: str) -> None:
    edit(folder, **changed)
    with pytest.raises(ArtifactError) as caught:
        load_model(folder)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["../weights.safetensors", "/etc/passwd"])
def test_weights_outside_the_folder_are_refused(folder: Path, name: str) -> None:
    edit(folder, weights={"kind": "torch", "file": name, "sha256": "0" * 64, "size_bytes": 1})
    with pytest.raises(
        ArtifactError,
        match=r"model.json: weights.file: Input should be 'weights.safetensors' or 'model.onnx'",
    ):
        load_model(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "not valid JSON"), (b"\xff", "not valid JSON"), (b"[]", "format None is unknown")],
)
def test_malformed_spec_is_named(folder: Path, content: bytes, message: str) -> None:
    (folder / "model.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        read_spec(folder)


def test_foreign_weights_with_a_right_digest_are_refused(folder: Path) -> None:
    path = folder / "weights.safetensors"
    for content, message in (
        (b"\x80\x04not tensors", "not a safetensors file"),
        (other_tensors(), "do not fit"),
    ):
        path.write_bytes(content)
        weights = {
            "kind": "torch",
            "file": path.name,
            "sha256": sha256_file(path),
            "size_bytes": len(content),
        }
        edit(folder, weights=weights)
        with pytest.raises(ArtifactError, match=message):
            load_model(folder)


def other_tensors() -> bytes:
    tensors: dict[str, Tensor] = {"head.weight": torch.zeros(2, 2)}
    return safetensors.torch.save(tensors)


def test_a_model_that_its_spec_does_not_describe_is_not_saved(folder: Path) -> None:
    before = (folder / "weights.safetensors").read_bytes()
    with pytest.raises(ArtifactError, match="the model to be saved: its weights do not fit"):
        save_model(folder, spec_of(plan=PLAN), build(spec_of().architecture))
    assert (folder / "weights.safetensors").read_bytes() == before


def test_onnx_artifact_keeps_the_file_and_its_digest(tmp_path: Path) -> None:
    source = tmp_path / "some.onnx"
    source.write_bytes(b"graph")
    saved = save_onnx(tmp_path / "quantized", spec_of(), source)
    path = onnx_path(tmp_path / "quantized")
    assert path.name == "model.onnx"
    assert path.read_bytes() == b"graph"
    assert saved.digest == sha256_file(source)
    assert saved.weights is not None
    assert saved.weights.kind == "onnx"
    assert read_spec(tmp_path / "quantized") == saved
    path.write_bytes(b"grapf")
    with pytest.raises(ArtifactError, match=r"model\.onnx: its SHA-256 is"):
        onnx_path(tmp_path / "quantized")


def test_kinds_are_not_confused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "some.onnx").write_bytes(b"graph")
    save_onnx(tmp_path / "quantized", spec_of(), tmp_path / "some.onnx")
    with pytest.raises(
        ArtifactError, match="quantized: holds an ONNX graph, but a torch model is needed here"
    ):
        load_model(tmp_path / "quantized")
    with pytest.raises(ArtifactError, match="dense: holds a torch model, but an ONNX graph is needed here"):
        onnx_path(folder)


def test_spec_refuses_sizes_that_disagree() -> None:
    with pytest.raises(ValidationError, match=r"inputs of other shapes than \[1, 8, 8\]"):
        spec_of(inputs={"pixels": TensorSpec(shape=[3, 8, 8], meaning="")})


def test_an_example_is_zeros_or_the_same_noise_at_every_call() -> None:
    spec = spec_of()
    assert {name: values.shape for name, values in spec.example(2).items()} == {"pixels": (2, 1, 8, 8)}
    assert not spec.example(2)["pixels"].any()
    first, again, other = (spec.example(2, seed)["pixels"] for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
