"""The exported file: same answers as the model, same bytes every time, nothing of this machine in it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from pipeline.data.prepared.reader import Split
from pipeline.errors import ArtifactError, CompressionError
from pipeline.export.onnx import export_onnx
from pipeline.export.outputs import onnx_outputs, torch_outputs
from pipeline.export.parity import Parity, parity
from pipeline.export.session import OnnxModel
from pipeline.models.description.spec import ModelSpec, TensorSpec
from pipeline.models.disk.weights import load_model
from pipeline.profile.timing import UNSAVED
from tests.support.compress_samples import CLASSES, EXAMINER, SIZE, network, prepared_data, saved, spec_of
from tests.support.places import ROOT

EXAMPLE = ROOT / "examples" / "classify.py"
BLOCKED = """
import runpy, sys
class Blocker:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "pipeline", "onnx", "PIL", "mlflow"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Exported:
    """A saved model, its data, and its exported file."""

    folder: Path
    data: Path
    spec: ModelSpec
    model: nn.Module
    file: Path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("export")
    spec = spec_of("resnet20", width=4)
    model = network(spec)
    spec = saved(folder / "model", spec, model)
    export_onnx(spec, model, folder / "model.onnx")
    return Exported(folder / "model", prepared_data(folder / "data"), spec, model, folder / "model.onnx")


def test_the_file_answers_as_the_model(exported: Exported) -> None:
    test = Split.open(exported.data, "test")
    rows = torch.arange(len(test))
    by_file = onnx_outputs(OnnxModel(exported.file, threads=1), test, rows, batch_size=16)
    by_model = torch_outputs(exported.model, exported.spec, test, rows, batch_size=16)
    found = parity(by_file, by_model, EXAMINER, against="the torch model")
    assert found.max_diff < 1e-4
    assert found.agreement == 1.0
    assert found.images == len(test)


@pytest.mark.parametrize("images", [1, 2, 7])
def test_any_batch_size_and_uint8_pixels(exported: Exported, images: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (images, 3, SIZE, SIZE), np.uint8)
    model = OnnxModel(exported.file, threads=1)
    logits = model.answer(pixels)["logits"]
    assert logits.shape == (images, len(CLASSES))
    assert logits.dtype == np.float32
    assert np.array_equal(logits, model.answer(pixels.astype(np.float32))["logits"])


def test_inputs_and_outputs_are_named_and_the_batch_is_free(exported: Exported) -> None:
    graph = onnx.load(exported.file).graph
    assert [value.name for value in graph.input] == ["pixels"]
    assert [value.name for value in graph.output] == ["logits"]
    first, *rest = graph.input[0].type.tensor_type.shape.dim
    assert first.dim_param
    assert [dim.dim_value for dim in rest] == [3, SIZE, SIZE]


def test_several_outputs_are_named_and_hold_their_part_of_the_last_layer(tmp_path: Path) -> None:
    spec = spec_of("mlp")
    heads = {"kind": TensorSpec(shape=[2], meaning=""), "count": TensorSpec(shape=[1], meaning="")}
    several, model = spec.model_copy(update={"outputs": heads}), network(spec)
    for name, each in (("one", spec), ("two", several)):
        export_onnx(each.model_copy(update={"weights": UNSAVED}), model, tmp_path / name)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, SIZE, SIZE)).astype(np.float32)
    one, two = (onnxruntime.InferenceSession(str(tmp_path / name)) for name in ("one", "two"))
    assert [value.name for value in two.get_outputs()] == ["kind", "count"]
    kind, count = two.run(None, {"pixels": pixels})
    np.testing.assert_array_equal(np.concatenate([kind, count], axis=1), one.run(None, {"pixels": pixels})[0])
    split = Split.open(prepared_data(tmp_path / "data"), "test")
    rows, by_model = torch.arange(9), torch_outputs(model, several, split, torch.arange(9), batch_size=4)
    by_file = onnx_outputs(OnnxModel(tmp_path / "two", threads=1), split, rows, batch_size=4)
    assert list(by_file) == list(by_model) == ["kind", "count"]
    for name, expected in by_model.items():
        np.testing.assert_allclose(by_file[name], expected, atol=1e-4)


def test_metadata_name_classes_and_origin(exported: Exported) -> None:
    metadata = OnnxModel(exported.file, threads=1).metadata
    assert json.loads(metadata["task"]) == {"name": "classification", "classes": CLASSES}
    assert json.loads(metadata["mean"]) == exported.spec.preprocessing.mean
    assert json.loads(metadata["std"]) == exported.spec.preprocessing.std
    assert metadata["espalier.weights"] == exported.spec.digest
    assert json.loads(metadata["espalier.ancestors"]) == exported.spec.ancestors


def test_the_file_holds_no_path_and_no_trace(exported: Exported) -> None:
    content = exported.file.read_bytes()
    for trace in (b"site-packages", b"stack_trace", b".py", str(ROOT).encode(), b"pkg.torch"):
        assert trace not in content


def test_the_example_runs_with_nothing_but_onnxruntime_and_numpy(exported: Exported, tmp_path: Path) -> None:
    """In an interpreter that has neither torch nor this project; the answers are the model's."""
    test = Split.open(exported.data, "test")
    images = test.images(torch.arange(5)).numpy()
    np.save(tmp_path / "images.npy", images)
    found = run_example(exported.file, tmp_path / "images.npy")
    assert found.returncode == 0, found.stderr
    expected = OnnxModel(exported.file, threads=1).answer(images)["logits"].argmax(axis=1)
    assert [line.split()[1] for line in found.stdout.splitlines()] == [CLASSES[label] for label in expected]


def test_the_imports_of_the_example_are_watched(exported: Exported, tmp_path: Path) -> None:
    """The twin that must fail."""
    example = tmp_path / "example.py"
    example.write_text("import torch\n" + EXAMPLE.read_text())
    found = run_example(exported.file, tmp_path / "images.npy", example)
    assert "ImportError: torch" in found.stderr


def test_the_example_has_20_lines_or_so() -> None:
    code = EXAMPLE.read_text().partition('"""\n\nimport')[2]
    assert len(code.splitlines()) <= 22


@pytest.mark.parametrize("images", [np.zeros((2, 3, SIZE, SIZE + 1)), np.array(["text"]), None])
def test_the_example_says_in_one_line_what_it_cannot_answer(
    exported: Exported, tmp_path: Path, images: np.ndarray[Any, Any] | None
) -> None:
    if images is not None:
        np.save(tmp_path / "images.npy", images)
    found = run_example(exported.file, tmp_path / "images.npy")
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert found.stderr.startswith(f"{exported.file} cannot answer {tmp_path}/images.npy: ")
    assert run_example(tmp_path / "images.npy", tmp_path / "images.npy").returncode == 1
    usage = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, check=False)
    assert (usage.returncode, usage.stderr) == (
        1,
        "usage: python examples/classify.py model.onnx images.npy\n",
    )


def run_example(file: Path, images: Path, example: Path = EXAMPLE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", BLOCKED, str(example), str(file), str(images)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_missing_operator_is_named_with_its_module() -> None:
    class Bessel(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.bessel_j0(x)  # type: ignore[no-any-return]

    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 3), Bessel())
    with pytest.raises(CompressionError, match=r"operator 'prims.bessel_j0' of module '2' has no ONNX form"):
        export_onnx(spec_of("mlp"), model, Path("never-written.onnx"))


def test_a_forward_pass_that_looks_at_its_values_is_named() -> None:
    class Choosing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 3), Choosing())
    with pytest.raises(CompressionError, match=r"module '2': .* must not depend on the values of its input"):
        export_onnx(spec_of("mlp"), model, Path("never-written.onnx"))


def test_a_corrupt_file_is_named(exported: Exported, tmp_path: Path) -> None:
    corrupt = tmp_path / "corrupt.onnx"
    corrupt.write_bytes(exported.file.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match=r"corrupt.onnx: not a readable ONNX file"):
        OnnxModel(corrupt, threads=1)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"absent.onnx: not a readable ONNX file"):
        OnnxModel(tmp_path / "absent.onnx", threads=1)


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "foreign", [value], [result]
    )
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "foreign.onnx")
    with pytest.raises(
        ArtifactError,
        match=r"foreign.onnx: not a file that Espalier exported",
    ):
        OnnxModel(tmp_path / "foreign.onnx", threads=1)


def test_parity_is_the_largest_difference_and_the_share_of_equal_answers() -> None:
    first = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [1.0, 0.0]], np.float32)
    second = np.array([[1.0, 2.5], [3.0, 0.0], [0.0, 1.0], [1.0, 4.0]], np.float32)
    found = parity({"logits": first}, {"logits": second}, EXAMINER, against="itself", run_by="hand")
    assert found == Parity(against="itself", run_by="hand", max_diff=4.0, agreement=0.75, images=4)


def test_a_loaded_model_exports_to_the_same_bytes(exported: Exported, tmp_path: Path) -> None:
    spec, model = load_model(exported.folder)
    export_onnx(spec, model, tmp_path / "loaded.onnx")
    assert (tmp_path / "loaded.onnx").read_bytes() == exported.file.read_bytes()
