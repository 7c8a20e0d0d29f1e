"""Quantization-aware training: what it rounds is what onnxruntime rounds, and the learned ranges reach the
int8 file.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from pipeline.data.prepared.reader import Split
from pipeline.errors import TrainingError
from pipeline.export.onnx import FromPixels
from pipeline.export.session import OnnxModel
from pipeline.models.disk.artifact import onnx_path, read_spec
from pipeline.models.disk.weights import load_model
from pipeline.quantize.quantize import quantize
from pipeline.train.job import child_spec
from pipeline.train.loop import fit
from pipeline.train.methods import quantization_aware
from pipeline.train.methods.quantization_aware import Rounding
from pipeline.train.params import QuantizationAwareParams
from tests.support.compress_samples import (
    SIZE,
    exported,
    network,
    prepared_data,
    quantize_params,
    saved,
    spec_of,
    trained,
)
from tests.support.fit_samples import CONVOLUTIONS, changed_job, job, prepared_digits

AWARE = QuantizationAwareParams(start=0.0, reduce_range=True)
IMAGE = torch.zeros(1, 3, SIZE, SIZE)


def aware(model: nn.Module) -> nn.Module:
    quantization_aware.insert(model, IMAGE)
    quantization_aware.schedule(model, 0, 10, AWARE)
    return model


def test_it_rounds_behind_norms_and_relus_and_before_layers_that_read_something_else() -> None:
    found = {
        rounding.key: name
        for name, rounding in quantization_aware.roundings(aware(network(spec_of("resnet20", width=4))))
    }
    assert found["stem.conv:in"] == "stem.conv.in_range"
    assert found["stem.conv:out"] == "stem.relu.out_range"
    assert "stages.0.0.conv1:in" not in found, "the stem's end is rounded already"
    assert found["stages.0.0.conv2:out"] == "stages.0.0.norm2.out_range", "then comes the addition"
    assert found["stages.0.1.conv1:in"] == "stages.0.1.conv1.in_range", "the sum"
    assert found["head:in"] == "head.in_range"
    assert len(found) == 22 + 1 + 8 + 2 + 1, (
        "every layer's end, the stem, the sums and what shortcuts read, the head"
    )


def test_the_network_as_it_is_saved_has_its_own_names_again() -> None:
    plain = network(spec_of("resnet20", width=4))
    model = aware(copy.deepcopy(plain)).train()
    model(torch.randn(8, 3, SIZE, SIZE))
    weights, ranges = quantization_aware.split(model, model.state_dict())
    assert set(weights) == set(plain.state_dict())
    assert set(ranges) == {rounding.key for _, rounding in quantization_aware.roundings(model)}
    lowest, highest = ranges["stem.conv:out"]
    assert lowest == 0.0 < highest


def test_ranges_are_a_moving_average_and_stand_still_in_eval_mode() -> None:
    rounding = Rounding("x:in")
    rounding(torch.tensor([1.0, 3.0]))
    assert rounding.range.tolist() == [0.0, 3.0]
    rounding(torch.tensor([-1.0, 5.0]))
    assert rounding.range.tolist() == pytest.approx([-0.1, 3.2])
    rounding.eval()(torch.tensor([-100.0, 100.0]))
    assert rounding.range.tolist() == pytest.approx([-0.1, 3.2])


def test_gradients_pass_within_the_range_and_stop_outside() -> None:
    rounding = Rounding("x:in")
    rounding(torch.tensor([0.0, 2.55]))
    rounding.eval().rounding = True
    x = torch.tensor([0.123, 3.0], requires_grad=True)
    y = rounding(x)
    torch.autograd.backward(y.sum())
    assert y.tolist() == pytest.approx([0.12, 2.55])
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 0.0]


def test_norms_freeze_and_rounding_starts_when_the_schedule_says() -> None:
    model = network(spec_of("resnet20", width=4)).train()
    quantization_aware.insert(model, IMAGE)
    late = QuantizationAwareParams(start=0.5, reduce_range=False)
    norm, conv = model.get_submodule("stem.norm"), model.get_submodule("stem.conv")
    seen = []
    for step in range(8):
        model.train()
        quantization_aware.schedule(model, step, 8, late)
        seen.append((getattr(conv, "rounded_to", 0), norm.training))
    assert seen == [(None, True)] * 4 + [(127, True)] * 2 + [(127, False)] * 2


def test_a_module_that_runs_twice_is_refused() -> None:
    relu = nn.ReLU()
    with pytest.raises(TrainingError, match="module '1' runs more than once"):
        quantization_aware.insert(nn.Sequential(nn.Conv2d(3, 3, 1), relu, nn.Conv2d(3, 3, 1), relu), IMAGE)


def test_the_int8_file_rounds_as_the_training_did(tmp_path: Path) -> None:
    """The logits of the rounding torch model are those of the file, closer than the float
    model's are by far.
    """
    data = prepared_data(tmp_path / "data")
    spec = spec_of("vgg11", width=8)
    model = trained(spec, data)
    rounding = aware(copy.deepcopy(model)).eval()
    quantization_aware.follow_data(rounding)
    images = Split.open(data, "train").images(torch.arange(96))
    with torch.no_grad():
        FromPixels(rounding, spec)(images.float())
    _, ranges = quantization_aware.split(rounding, rounding.state_dict())
    spec = saved(tmp_path / "model", spec.model_copy(update={"ranges": ranges}), model)
    assert read_spec(tmp_path / "model").ranges == ranges
    exported(tmp_path / "model")
    report = quantize(
        tmp_path / "model", tmp_path / "model.onnx", data, tmp_path / "int8", quantize_params(max_drop=1.0)
    )
    by_file = OnnxModel(onnx_path(tmp_path / "int8"), 1).answer(images.numpy())["logits"]
    with torch.no_grad():
        by_training = FromPixels(rounding.eval(), spec)(images.float()).numpy()
        by_floats = FromPixels(model.eval(), spec)(images.float()).numpy()
    assert np.abs(by_file - by_training).mean() < 0.3 * np.abs(by_file - by_floats).mean()
    scales = {
        t.name: onnx.numpy_helper.to_array(t)
        for t in onnx.load(onnx_path(tmp_path / "int8")).graph.initializer
    }
    lowest, highest = ranges["stages.0.0.conv:out"]
    assert any(
        np.allclose(scale, (highest - lowest) / 255)
        for name, scale in scales.items()
        if name.endswith("_scale")
    )
    assert report.metrics()["learned_ranges"] == len(ranges)


def test_fit_rounds_and_leaves_a_plain_model_with_ranges(tmp_path: Path) -> None:
    data = prepared_digits(tmp_path)
    fit(job(data, tmp_path / "first", model=CONVOLUTIONS, epochs=2), "cpu", 1)
    start = tmp_path / "first" / "result" / "model"
    changes: dict[str, Any] = {
        "epochs": 2,
        "ema_decay": 0.9,
        "quantization_aware": {"start": 0.5, "reduce_range": True},
    }
    further = job(data, tmp_path / "second", model=CONVOLUTIONS, **changes)
    fit(changed_job(further, initial=start, spec=child_spec(read_spec(start), "dense")), "cpu", 1)
    spec, model = load_model(tmp_path / "second" / "result" / "model")
    assert not list(quantization_aware.roundings(model))
    assert {"stages.0.0.conv:in", "stages.0.0.conv:out", "head:in", "head:out"} <= set(spec.ranges)
    assert all(lowest <= 0.0 < highest for lowest, highest in spec.ranges.values())
    with pytest.raises(TrainingError, match="quantization_aware starts from trained weights"):
        fit(further, "cpu", 1)
