"""int8: it runs, agrees with its parent, is smaller, repeats, and is calibrated on every class."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from pipeline.base.files import sha256_file
from pipeline.base.params import parse_section
from pipeline.data.prepared.reader import Split
from pipeline.errors import ArtifactError, CompressionError, ParamsError
from pipeline.export.parity import read_parities
from pipeline.export.session import OnnxModel
from pipeline.models.description.spec import ModelSpec
from pipeline.models.disk.artifact import onnx_path, read_spec
from pipeline.models.disk.weights import load_model
from pipeline.quantize.instructions import check_int8
from pipeline.quantize.params import QuantizeParams
from pipeline.quantize.quantize import QuantizeReport, calibration_rows, quantize
from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.judging.arrays import Bools
from pipeline.tasks.judging.classification import ClassificationExaminer
from tests.support.compress_samples import (
    CLASSES,
    exported,
    network,
    prepared_data,
    quantize_params,
    saved,
    spec_of,
    trained,
)


@dataclass(frozen=True)
class Quantized:
    data: Path
    parent: Path
    floats: Path
    folder: Path
    spec: ModelSpec
    report: QuantizeReport


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    folder = tmp_path_factory.mktemp("quantize")
    data = prepared_data(folder / "data")
    spec = spec_of("resnet20", width=16)
    model = trained(spec, data)
    spec = saved(folder / "finetuned", spec, model)
    exported(folder / "finetuned")
    report = quantize(
        folder / "finetuned", folder / "model.onnx", data, folder / "quantized", quantize_params()
    )
    return Quantized(data, folder / "finetuned", folder / "model.onnx", folder / "quantized", spec, report)


def test_the_int8_file_agrees_with_its_parent(quantized: Quantized) -> None:
    values = quantized.report.metrics()
    assert values["int8_agreement"] > 0.95
    assert values["float_val_score"] > 0.95
    assert abs(values["val_score"] - values["float_val_score"]) < 0.05
    assert values["int8_max_diff"] > 0


def test_weights_are_int8_and_activations_uint8(quantized: Quantized) -> None:
    graph = onnx.load(onnx_path(quantized.folder)).graph
    kinds = Counter(tensor.data_type for tensor in graph.initializer if tensor.name.endswith("_quantized"))
    assert kinds[onnx.TensorProto.INT8] == 22  # 19 convolutions, 2 of shortcuts, the head
    zero_points = {
        tensor.name: tensor.data_type for tensor in graph.initializer if tensor.name.endswith("zero_point")
    }
    activations = [zero_points[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert activations
    assert set(activations) == {onnx.TensorProto.UINT8}


def test_weights_have_a_scale_for_each_channel(quantized: Quantized) -> None:
    graph = onnx.load(onnx_path(quantized.folder)).graph
    sizes = [tuple(tensor.dims) for tensor in graph.initializer if tensor.name.endswith("weight_scale")]
    assert (16,) in sizes


def test_the_file_is_smaller_and_its_size_is_reported(quantized: Quantized) -> None:
    values = quantized.report.metrics()
    assert values["size_bytes"] == onnx_path(quantized.folder).stat().st_size
    assert values["size_fraction"] < 0.5


def test_the_artifact_knows_its_parent_and_its_parity(quantized: Quantized) -> None:
    spec = read_spec(quantized.folder)
    assert spec.ancestors == {"data": "a" * 64, "finetuned": quantized.spec.digest}
    assert spec.provenance == quantized.spec.provenance
    assert read_parities(quantized.folder, "quantize").files == {"model.onnx": quantized.report.int8}
    assert spec.architecture == quantized.spec.architecture
    with pytest.raises(ArtifactError, match="holds an ONNX graph"):
        load_model(quantized.folder)


def test_the_file_names_its_classes(quantized: Quantized) -> None:
    metadata = OnnxModel(onnx_path(quantized.folder), threads=1).metadata
    assert metadata["task"] == '{"classes": ["left", "right", "top"], "name": "classification"}'
    assert metadata["espalier.weights"] == quantized.spec.digest


def test_again_gives_the_same_bytes_and_leaves_nothing_behind(quantized: Quantized, tmp_path: Path) -> None:
    quantize(quantized.parent, quantized.floats, quantized.data, tmp_path / "again", quantize_params())
    for name in ("model.json", "model.onnx", "parity.json"):
        assert sha256_file(tmp_path / "again" / name) == sha256_file(quantized.folder / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "again",
        "model.json",
        "model.onnx",
        "parity.json",
    ]
    assert b"/" not in (tmp_path / "again" / "model.json").read_bytes()


def test_an_export_of_other_weights_is_refused(quantized: Quantized, tmp_path: Path) -> None:
    other = spec_of("resnet20", width=16)
    saved(tmp_path / "finetuned", other, network(other, seed=5))
    with pytest.raises(
        ArtifactError,
        match=r"is of another model.json than .*finetuned.*`dvc repro -f -s evaluate@finetuned`",
    ):
        quantize(
            tmp_path / "finetuned", quantized.floats, quantized.data, tmp_path / "out", quantize_params()
        )


def activation_scales(folder: Path) -> dict[str, float]:
    """What one of the 256 levels of each activation is worth."""
    graph = onnx.load(onnx_path(folder)).graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return {
        node.input[1]: float(values[node.input[1]]) for node in graph.node if node.op_type == "QuantizeLinear"
    }


def test_every_calibration_finds_ranges_of_its_own_within_those_seen(
    quantized: Quantized, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """From 42 images in batches of 16, of which the last is smaller."""
    scales = {}
    for calibration in ("minmax", "percentile"):
        params = quantize_params(calibration=calibration, calibration_images=42)
        report = quantize(quantized.parent, quantized.floats, quantized.data, tmp_path / calibration, params)
        assert report.int8.agreement > 0.9
        scales[calibration] = activation_scales(tmp_path / calibration)
    fractions = [scale / scales["minmax"][name] for name, scale in scales["percentile"].items()]
    assert max(fractions) <= 1.0001
    assert min(fractions) < 0.9999
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("calibration", ["minmax", "percentile"])
def test_batches_of_calibration_change_ranges_by_little_or_nothing(
    quantized: Quantized, tmp_path: Path, calibration: str
) -> None:
    scales = []
    for batch_size in (42, 16):
        params = quantize_params(calibration=calibration, calibration_images=42, batch_size=batch_size)
        quantize(quantized.parent, quantized.floats, quantized.data, tmp_path / str(batch_size), params)
        scales.append(activation_scales(tmp_path / str(batch_size)))
    assert scales[1] == pytest.approx(scales[0], rel=0.05 if calibration == "percentile" else 1e-6)


def test_entropy_is_refused_with_what_there_is() -> None:
    values = quantize_params().model_dump() | {"calibration": "entropy"}
    with pytest.raises(
        ParamsError, match=r"quantize\.calibration is 'entropy', but input should be 'minmax' or 'percentile'"
    ):
        parse_section("quantize", values, QuantizeParams)


@pytest.fixture(scope="module")
def outlier(quantized: Quantized, tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    """An MLP with one unit, which nothing reads, so large that the range of its layer leaves no steps to the
    others.
    """
    folder = tmp_path_factory.mktemp("outlier")
    spec = spec_of("mlp", width=16)
    model = trained(spec, quantized.data)
    state = model.state_dict()
    state["stages.0.linear.bias"][3] = 1e6
    state["stages.1.linear.weight"][:, 3] = 0.0
    spec = saved(folder / "finetuned", spec, model)
    exported(folder / "finetuned")
    report = quantize(
        folder / "finetuned", folder / "model.onnx", quantized.data, folder / "out", quantize_params()
    )
    return Quantized(
        quantized.data, folder / "finetuned", folder / "model.onnx", folder / "out", spec, report
    )


def test_the_layers_that_cost_too_much_stay_in_float(outlier: Quantized) -> None:
    record: Any = outlier.report.record()
    assert sorted(record["left_in_float"]) == ["stages.0.linear", "stages.1.linear"]
    assert sorted(row["layer"] for row in record["scan"][:2]) == ["stages.0.linear", "stages.1.linear"]
    assert record["scan"][1]["noise"] > 100 * record["scan"][2]["noise"]
    assert record["float_val_score"] - record["val_score"] <= 0.05
    assert record["float_layers"] == 2
    macs = [192 * 16, 16 * 16, 16 * 3]
    assert record["float_macs_fraction"] == pytest.approx(sum(macs[:2]) / sum(macs), abs=1e-6)
    assert record["note"] == "99% of the MACs stay float: expect little speed"


def test_the_search_repeats_to_the_byte(outlier: Quantized, tmp_path: Path) -> None:
    again = quantize(outlier.parent, outlier.floats, outlier.data, tmp_path / "again", quantize_params())
    assert again.record() == outlier.report.record()
    assert sha256_file(tmp_path / "again" / "model.onnx") == sha256_file(outlier.folder / "model.onnx")


def test_without_the_gate_the_same_network_is_ruined(outlier: Quantized, tmp_path: Path) -> None:
    """The twin that must fail: nothing but the fallback keeps the accuracy."""
    report = quantize(
        outlier.parent, outlier.floats, outlier.data, tmp_path / "out", quantize_params(max_drop=1.0)
    )
    assert report.float_score - report.int8_score > 0.3
    assert (report.left_in_float, report.scan) == ([], [])


@pytest.mark.parametrize(
    ("mode", "operator", "smaller"), [("dynamic", "MatMulInteger", 0.3), ("weight_only", "MatMulNBits", 0.2)]
)
def test_linear_layers_can_be_dynamic_or_have_small_weights(
    quantized: Quantized, tmp_path: Path, mode: str, operator: str, smaller: float
) -> None:
    spec = spec_of("mlp", width=128)
    model = trained(spec, quantized.data)
    spec = saved(tmp_path / "finetuned", spec, model)
    exported(tmp_path / "finetuned")
    params = quantize_params(mode=mode, max_drop=0.02)
    report = quantize(
        tmp_path / "finetuned", tmp_path / "model.onnx", quantized.data, tmp_path / "out", params
    )
    assert [node.op_type for node in onnx.load(onnx_path(tmp_path / "out")).graph.node].count(operator) == 3
    assert report.metrics()["size_fraction"] < smaller
    assert report.int8.agreement > 0.95
    assert report.left_in_float == []
    assert report.float_macs_fraction == 0.0


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A ViT of six blocks, 64 wide, that has learned a little, beside its float file; and its data."""
    folder = tmp_path_factory.mktemp("transformer")
    data = prepared_data(folder / "data", size=32)
    spec = spec_of("timm/test_vit", width=None, size=32)
    model = trained(spec, data)
    spec = saved(folder / "finetuned", spec, model)
    exported(folder / "finetuned")
    return folder, data


@pytest.mark.parametrize(
    ("mode", "operator", "smaller"),
    [("dynamic", "MatMulInteger", 0.45), ("weight_only", "MatMulNBits", 0.35)],
)
def test_all_linear_layers_of_a_transformer_are_quantized_and_its_attention_stays_float(
    transformer: tuple[Path, Path], tmp_path: Path, mode: str, operator: str, smaller: float
) -> None:
    folder, data = transformer
    report = quantize(
        folder / "finetuned", folder / "model.onnx", data, tmp_path / "out", quantize_params(mode=mode)
    )
    nodes = Counter(node.op_type for node in onnx.load(onnx_path(tmp_path / "out")).graph.node)
    # Q, k and v; projection; two of the MLP; the head.
    assert (nodes[operator], nodes["Gemm"]) == (6 * 4 + 1, 0)
    assert nodes["MatMul"] == 6 * 2  # of q and k, and of what they see and v
    assert report.left_in_float == []
    assert report.metrics()["size_fraction"] < smaller
    assert 0.0 < report.float_macs_fraction < 0.2
    assert report.int8.agreement > 0.9
    assert report.int8.max_diff > 0.0


def test_convolutions_stay_float_in_a_mode_for_linear_layers_and_the_report_says_so(
    quantized: Quantized, tmp_path: Path
) -> None:
    report = quantize(
        quantized.parent, quantized.floats, quantized.data, tmp_path / "out", quantize_params(mode="dynamic")
    )
    assert report.record()["note"] == "100% of the MACs stay float: expect little speed"


CPU = "processor : 0\nmodel name : Old CPU\nflags : fpu avx2 {}\n"


def test_int8_on_a_cpu_without_the_instructions_is_refused(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(CPU.format("fma"))
    wrong = quantize_params(reduce_range=False)
    with pytest.raises(
        CompressionError, match=r"this CPU \(Old CPU\) has none of avx512_vnni,.* Set quantize.reduce_range"
    ):
        check_int8(wrong, cpuinfo)
    for right in ({"reduce_range": True}, {"mode": "weight_only"}):
        check_int8(quantize_params(reduce_range=False).model_copy(update=right), cpuinfo)
    cpuinfo.write_text(CPU.format("avx_vnni"))
    check_int8(wrong, cpuinfo)
    check_int8(wrong, tmp_path / "absent")
    cpuinfo.write_text("Features : fp asimd\n")
    with pytest.raises(CompressionError, match=r"has none of asimddp"):
        check_int8(wrong, cpuinfo)


def by_class(labels: list[int], classes: list[str] = CLASSES) -> dict[str, Bools]:
    return ClassificationExaminer(ClassificationNotes(classes=classes)).groups({"label": np.array(labels)})


def test_calibration_images_are_spread_over_the_classes_by_seed(quantized: Quantized) -> None:
    labels = Split.open(quantized.data, "train").targets["label"]

    def chosen(seed: int) -> torch.Tensor:
        params = quantize_params(calibration_images=10, seed=seed)
        return calibration_rows(by_class(labels.tolist()), len(labels), params)

    assert torch.bincount(labels[chosen(0)]).tolist() == [4, 3, 3]
    assert len(set(chosen(0).tolist())) == 10
    assert torch.equal(chosen(0), chosen(0))
    assert not torch.equal(chosen(0), chosen(1))


def test_a_rare_class_gives_all_it_has() -> None:
    labels = [0] * 20 + [1] * 2
    groups = by_class(labels, ["common", "rare"])
    chosen = calibration_rows(groups, len(labels), quantize_params(calibration_images=10))
    assert torch.bincount(torch.tensor(labels)[chosen]).tolist() == [8, 2]


def test_an_image_of_several_groups_calibrates_once_and_without_groups_all_are_one() -> None:
    groups = {"even": np.arange(12) % 2 == 0, "thirds": np.arange(12) % 3 == 0}
    params = quantize_params(calibration_images=6)
    for given in (groups, {}):
        chosen = calibration_rows(given, 12, params).tolist()
        assert len(set(chosen)) == len(chosen) == 6
    assert all(groups["even"][row] or groups["thirds"][row] for row in calibration_rows(groups, 12, params))


def test_a_class_without_an_image_is_named() -> None:
    with pytest.raises(CompressionError, match="'right' has no training image to calibrate on"):
        calibration_rows(by_class([0, 0, 2]), 3, quantize_params())


def test_fewer_images_than_classes_are_too_few() -> None:
    with pytest.raises(
        CompressionError, match=r"calibration_images is 2, but there are 3 groups \(classes\).*raise it to 3"
    ):
        calibration_rows(by_class([0, 1, 2]), 3, quantize_params(calibration_images=2))
