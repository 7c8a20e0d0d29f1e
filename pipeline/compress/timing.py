"""Single layers and whole networks, ready to run on a device, and how they are timed. Letters: B batch, C, H, W."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from pipeline.compress.cost import input_shape
from pipeline.compress.export import FromPixels, export_onnx
from pipeline.compress.params import PruneTarget
from pipeline.compress.session import INPUT_NAME, OUTPUT_NAME, OnnxModel, device_name
from pipeline.errors import CompressionError
from pipeline.models.spec import ONNX_NAME, WEIGHTS_NAME, ModelSpec, WeightsFile

TURN_S = 0.01
"""A turn is at least one run and as long as this. Its fastest run counts: what else a machine does only makes one slower."""
UNSAVED = WeightsFile(kind="torch", file=WEIGHTS_NAME, sha256="0" * 64, size_bytes=1)
"""Stands in the metadata of an export that is timed and forgotten."""
OPSET = 18
IR_VERSION = 10

Run = Callable[[], object]


@dataclass(frozen=True)
class LayerShape:
    """What a layer is beside its widths: a convolution, or with an empty kernel a linear layer.

    groups: None where each channel is a group of its own. size: of its input, (H, W), or (positions of an image,).
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int | None
    size: tuple[int, ...]


class Device(Protocol):
    """Where networks run. Random weights do: how long a network takes does not depend on them."""

    name: str
    runtime: str

    def layer(self, shape: LayerShape, out: int, in_: int) -> Run: ...

    def network(self, spec: ModelSpec, model: nn.Module) -> Run: ...

    def seconds(self, run: Run) -> float: ...


def open_device(target: PruneTarget) -> Device:
    """The device of a target of latency; for other targets, a batch of one on the CPU.

    Raises CompressionError where this machine has no such device.
    """
    if target.device == "cuda":
        return CudaDevice(target.batch or 1)
    return CpuDevice(target.batch or 1, target.threads or 1)


class CpuDevice:
    """onnxruntime on the file that is deployed."""

    def __init__(self, batch: int, threads: int) -> None:
        self.name, self.runtime = device_name(), f"onnxruntime {onnxruntime.__version__}, {threads} threads"
        self._batch, self._threads = batch, threads

    def layer(self, shape: LayerShape, out: int, in_: int) -> Run:
        proto = _conv_graph(shape, out, in_) if shape.kernel else _linear_graph(out, in_)
        with TemporaryDirectory(prefix="espalier-profile-") as name:
            path = Path(name) / ONNX_NAME
            path.write_bytes(proto.SerializeToString())
            return self._run(path, _input_shape(shape, in_, self._batch))

    def network(self, spec: ModelSpec, model: nn.Module) -> Run:
        with TemporaryDirectory(prefix="espalier-profile-") as name:
            path = Path(name) / ONNX_NAME
            export_onnx(spec.model_copy(update={"weights": UNSAVED}), model, path)
            return self._run(path, (self._batch, *input_shape(spec)))

    def seconds(self, run: Run) -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    def _run(self, path: Path, shape: tuple[int, ...]) -> Run:
        model, images = OnnxModel(path, self._threads), np.random.default_rng(0).random(shape, np.float32)
        return lambda: model.logits(images)


class CudaDevice:
    """torch on the first GPU, timed by the GPU itself."""

    def __init__(self, batch: int) -> None:
        if not torch.cuda.is_available():
            raise CompressionError(
                "prune.target.device is cuda, but torch sees no GPU here; run the stage `profile` where one is, or set cpu"
            )
        self.name, self.runtime = torch.cuda.get_device_name(), f"torch {torch.__version__}"
        self._batch = batch

    def layer(self, shape: LayerShape, out: int, in_: int) -> Run:
        if not shape.kernel:
            return self._run(nn.Linear(in_, out), _input_shape(shape, in_, self._batch))
        groups = out if shape.groups is None else shape.groups
        geometry = (shape.kernel, shape.stride, shape.padding, shape.dilation, groups)
        conv = nn.Conv2d(in_, out, *geometry)  # type: ignore[arg-type]
        return self._run(nn.Sequential(conv, nn.ReLU()), _input_shape(shape, in_, self._batch))

    def network(self, spec: ModelSpec, model: nn.Module) -> Run:
        return self._run(FromPixels(model, spec), (self._batch, *input_shape(spec)))

    def seconds(self, run: Run) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) / 1e3

    def _run(self, module: nn.Module, shape: tuple[int, ...]) -> Run:
        ready, images = module.eval().cuda(), torch.rand(shape, device="cuda")

        @torch.no_grad()
        def run() -> object:
            return ready(images)

        return run


def turn_s(device: Device, run: Run) -> float:
    """Seconds of the fastest run of a turn."""
    times = [device.seconds(run)]
    while sum(times) < TURN_S:
        times.append(device.seconds(run))
    return min(times)


def fractions(device: Device, runs: Sequence[Run], rounds: int) -> list[float]:
    """Times as fractions of the first one's: the median over rounds, in each of which all have a turn."""
    for run in runs:
        run()
    times = np.array([[turn_s(device, run) for run in runs] for _ in range(rounds)])
    return [float(fraction) for fraction in np.median(times / times[:, :1], axis=0)]


def _input_shape(shape: LayerShape, in_: int, batch: int) -> tuple[int, ...]:
    return (batch, in_, *shape.size) if shape.kernel else (batch * shape.size[0], in_)


def _conv_graph(shape: LayerShape, out: int, in_: int) -> onnx.ModelProto:
    """A convolution with the bias and the ReLU that onnxruntime fuses into it."""
    groups = out if shape.groups is None else shape.groups
    geometry: dict[str, Any] = {
        "strides": shape.stride,
        "pads": shape.padding * 2,
        "dilations": shape.dilation,
    }
    conv = helper.make_node("Conv", [INPUT_NAME, "weight", "bias"], ["sums"], group=groups, **geometry)
    relu = helper.make_node("Relu", ["sums"], [OUTPUT_NAME])
    return _graph([conv, relu], (out, in_ // groups, *shape.kernel), ("batch", in_, *shape.size))


def _linear_graph(out: int, in_: int) -> onnx.ModelProto:
    gemm = helper.make_node("Gemm", [INPUT_NAME, "weight", "bias"], [OUTPUT_NAME], transB=1)
    return _graph([gemm], (out, in_), ("rows", in_))


def _graph(nodes: list[onnx.NodeProto], weight: tuple[int, ...], images: tuple[int | str, ...]) -> onnx.ModelProto:
    values = np.random.default_rng(0).standard_normal(weight, np.float32) / np.float32(np.prod(weight[1:]))
    initial = [
        numpy_helper.from_array(values, "weight"),
        numpy_helper.from_array(values.reshape(len(values), -1)[:, 0], "bias"),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
        for name, sizes in ((INPUT_NAME, images), (OUTPUT_NAME, [None] * len(images)))
    ]
    graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:], initial)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
