"""The stage `profile`: a table of layers predicts networks, and measuring decides the rounding."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.compress.channels import Aim, make_plan
from pipeline.compress.cost import input_shape
from pipeline.compress.latency_table import LatencyTable, Profile, RoundingTrial, Terms, read_profile
from pipeline.compress.measure import Subject, fastest, fit, measure
from pipeline.compress.params import ShapeParams
from pipeline.compress.profile import make_profile
from pipeline.compress.timing import CpuDevice, CudaDevice, LayerShape, Run, turn_s
from pipeline.compress.widths import layers_of
from pipeline.data.prepared.reader import Split
from pipeline.errors import ArtifactError, CompressionError, ParamsError
from pipeline.models.nets.cut import apply_plan
from pipeline.models.spec import ModelSpec
from pipeline.params import parse_section
from tests.unit.compress_samples import TASK, network, prepared_data, prune_params, spec_of

LATENCY = {"latency": 0.5, "device": "cpu", "batch": 1}
BLOCK = 4


def shape_params(**changes: Any) -> ShapeParams:
    fields = ShapeParams.model_fields
    return ShapeParams.model_validate({name: value for name, value in shape_values(changes).items() if name in fields})


def shape_values(changes: dict[str, Any]) -> dict[str, Any]:
    return prune_params().model_dump(exclude={"target"}) | {"target": LATENCY, "round_to": BLOCK} | changes


class Simulated:
    """A device on which a layer works in blocks of 4 channels, and takes longer where a number of channels is none of them.

    A network takes a constant, and less than the sum of its layers alone, for it need not bring their tensors into a layout.
    """

    name, runtime = "simulated", "none"

    def layer(self, shape: LayerShape, out: int, in_: int) -> Run:
        positions = math.prod(shape.size) / math.prod(shape.stride)
        return lambda: self._work(out, in_, positions, shape.groups is None) + 0.5 * out * positions

    def network(self, spec: ModelSpec, model: nn.Module) -> Run:
        layers = layers_of(model, input_shape(spec))
        work = 0.0
        for name, layer in layers.items():
            module = model.get_submodule(name)
            if isinstance(module, nn.Conv2d):
                positions = layer.macs / layer.weights
                work += self._work(layer.out, layer.in_, positions, layer.one_sided)
        return lambda: 2000.0 + work

    def seconds(self, run: Run) -> float:
        return float(run())  # type: ignore[arg-type]

    def _work(self, out: int, in_: int, positions: float, one_sided: bool) -> float:
        blocks = math.ceil(out / BLOCK) * (1 if one_sided else math.ceil(in_ / BLOCK))
        odd = 1.3 if out % BLOCK or (in_ % BLOCK and in_ > BLOCK) else 1.0
        return positions * blocks * odd


@pytest.fixture(scope="module")
def simulated() -> Profile:
    return measure(spec_of("resnet20", 16), shape_params(), Simulated())


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return Split.open(prepared_data(tmp_path_factory.mktemp("data")), "train")


@pytest.mark.parametrize("importance", ["l2", "taylor"])
def test_a_target_of_latency_is_met_on_the_device_and_not_missed_by_far(
    simulated: Profile, train: Split, importance: str
) -> None:
    spec, device = spec_of("resnet20", 16), Simulated()
    dense = network(spec)
    before = device.seconds(device.network(spec, dense))
    params = prune_params(target=LATENCY, round_to=BLOCK, importance=importance)
    pruned = apply_plan(dense, make_plan(dense, spec, train, params, TASK, Aim(simulated))[0])
    assert 0.44 <= device.seconds(device.network(spec, pruned)) / before <= 0.505


def test_the_fit_takes_back_what_layers_alone_spend(simulated: Profile) -> None:
    assert simulated.latency is not None
    assert simulated.latency.error < 0.02
    assert simulated.latency.fit.outputs < 0
    assert simulated.latency.fraction({name: sides for name, sides in dense_widths().items()}) == pytest.approx(1.0, abs=0.02)


def dense_widths() -> dict[str, tuple[int, int]]:
    spec = spec_of("resnet20", 16)
    return {name: (layer.out, layer.in_) for name, layer in layers_of(network(spec), input_shape(spec)).items()}


def test_a_rounding_that_the_device_likes_is_chosen() -> None:
    spec = spec_of("resnet20", 16)
    profile = measure(spec, shape_params(target={"macs": 0.5}, round_to="auto"), Simulated())
    assert profile.round_to == BLOCK
    assert profile.latency is None
    assert [trial.round_to for trial in profile.roundings][:3] == [1, 4, 8]
    assert all(trial.cost <= 0.5 for trial in profile.roundings)


def test_a_coarser_rounding_must_be_faster_for_the_same_cost_and_reach_the_target() -> None:
    def trial(round_to: int, cost: float, latency: float, lowest: float | None = None) -> RoundingTrial:
        return RoundingTrial(round_to=round_to, cost=cost, latency=latency, lowest=lowest)

    assert fastest([trial(1, 0.5, 0.6), trial(8, 0.4, 0.48)], 0.5) == 1
    assert fastest([trial(1, 0.5, 0.6), trial(8, 0.5, 0.5), trial(16, 0.5, 0.49)], 0.5) == 8
    assert fastest([trial(1, 0.5, 0.6, 0.1), trial(8, 0.5, 0.5, 0.2), trial(16, 0.5, 0.3, 0.55)], 0.5) == 8
    with pytest.raises(CompressionError, match=r"0\.500 of the dense latency is out of reach; .* 0\.520 to 1\.0"):
        fastest([trial(1, 0.5, 0.6, 0.52), trial(8, 0.5, 0.5, 0.55)], 0.5)


def test_a_target_out_of_reach_is_told_before_any_training() -> None:
    with pytest.raises(CompressionError, match=r"0\.100 of the dense latency is out of reach; .* 0\.\d+ to 1\.0 can be"):
        measure(spec_of("resnet20", 16), shape_params(target=LATENCY | {"latency": 0.1}, max_ratio=0.3), Simulated())


def test_a_fit_finds_the_weights_that_made_the_times() -> None:
    terms = [Terms(1.0, a, b, c) for a, b, c in ((0.5, 0.7, 0.4), (0.6, 0.6, 0.5), (0.4, 0.6, 0.6), (0.7, 0.9, 0.2))]
    true = Terms(0.1, 1.05, -0.2, 0.05)
    found = fit(terms, [true.dot(each) for each in terms])
    assert [found.dot(each) for each in terms] == pytest.approx([true.dot(each) for each in terms], abs=0.004)


def test_nothing_is_measured_for_a_fixed_rounding_and_a_target_of_macs() -> None:
    assert make_profile(spec_of("mlp"), shape_params(target={"macs": 0.5}, round_to=8)).model_dump() == {
        "round_to": 8,
        "roundings": [],
        "latency": None,
    }


def test_what_a_user_names_is_tried_before_any_training() -> None:
    counted = {"target": {"macs": 0.5}, "round_to": 8}
    assert make_profile(spec_of("resnet20"), shape_params(**counted, ignored=["stages.0.0.conv1"])).round_to == 8
    with pytest.raises(CompressionError, match=r"prune.ignored: the model has no module 'stages.0.0.conv3'; did you mean"):
        make_profile(spec_of("resnet20"), shape_params(**counted, ignored=["stages.0.0.conv3"]))
    with pytest.raises(CompressionError, match=r"0\.010 of the dense MACs is out of reach"):
        make_profile(spec_of("resnet20"), shape_params(**counted | {"target": {"macs": 0.01}}, ignored=["stages.0.0.conv1"]))


def test_a_profile_survives_json_and_damage_is_named(simulated: Profile, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(simulated.to_json())
    assert read_profile(path) == simulated
    assert set(simulated.metrics()) == {"round_to", "latency_error"}
    path.write_text("{}")
    with pytest.raises(ArtifactError, match=r"profile.json: not a profile .* run `dvc repro --force profile`"):
        read_profile(path)


def test_a_table_of_another_network_is_refused(simulated: Profile, train: Split) -> None:
    spec = spec_of("resnet20", 8)
    with pytest.raises(ArtifactError, match=r"its layer 'stem.conv' is not of this network; run `dvc repro profile`"):
        make_plan(network(spec), spec, train, prune_params(target=LATENCY), TASK, Aim(simulated))


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2", "mlp"])
def test_every_layer_runs_alone_as_it_does_in_the_network(name: str) -> None:
    """Depthwise, strided and linear ones too: what they give has the size that the table notes."""
    from pipeline.compress.measure import _distinct

    subject, device = Subject.of(spec_of(name), shape_params()), CpuDevice(batch=2, threads=1)
    modules, wholes = _distinct(subject)
    layers = {module for module, kind in subject.dense.named_modules() if isinstance(kind, nn.Conv2d | nn.Linear)}
    assert set(modules) == layers
    for whole in wholes:
        logits = device.layer(whole.shape, whole.out, whole.in_)()
        assert logits.size == 2 * whole.out * whole.outputs  # type: ignore[attr-defined]


def test_a_network_is_timed_as_it_is_deployed() -> None:
    spec, device = spec_of("mlp"), CpuDevice(batch=3, threads=1)
    run = device.network(spec, network(spec))
    assert run().shape == (3, 3)  # type: ignore[attr-defined]
    assert turn_s(device, run) > 0
    assert "1 threads" in device.runtime


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(CompressionError, match=r"prune\.target\.device is cuda, but torch sees no GPU here"):
        CudaDevice(1)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (0.5, r"prune.target: 0.5 of what\? Write \{macs: 0.5\}, \{params: 0.5\} or for example \{latency: 0.5, device: cpu"),
        (
            {"macs": 0.5, "params": 0.5},
            "prune.target: has macs and params of macs, params, latency, weights, but one is the target",
        ),
        ({}, "prune.target: has none of macs, params, latency, weights, but one is the target"),
        ({"mac": 0.5}, r"unknown key 'prune.target.mac'; did you mean 'macs'\?"),
        ({"latensy": 0.5, "device": "cpu", "batch": 1}, r"unknown key 'prune.target.latensy'; did you mean 'latency'\?"),
        ({"macs": 1.5}, r"prune.target.macs is 1.5, but input should be less than or equal to 1"),
        ({"macs": 0.5, "batch": 1}, "prune.target: batch belongs to latency, but the target is macs; remove it"),
        ({"weights": 0.5, "batch": 1}, "prune.target: batch belongs to latency, but the target is weights; remove it"),
        ({"macs": 0.5, "pattern": "2_of_4"}, "prune.target: pattern belongs to weights, but the target is macs; remove it"),
        ({"weights": 0.4, "pattern": "2_of_4"}, "prune.target: pattern 2_of_4 keeps 0.5 of the weights, not 0.4; write that"),
        ({"latency": 0.5, "batch": 1}, "prune.target: latency needs a device and a batch, for example"),
        ({"latency": 0.5, "device": "gpu", "batch": 1}, "prune.target.device is 'gpu', but input should be 'cpu' or 'cuda'"),
        ({"latency": 0.5, "device": "cuda", "batch": 1, "threads": 2}, "prune.target: threads are onnxruntime's on a cpu"),
    ],
)
def test_a_wrong_target_is_one_clear_error(target: object, message: str) -> None:
    with pytest.raises(ParamsError, match=message) as caught:
        parse_section("prune", shape_values({}) | {"target": target} | {"importance": "l2"}, type(prune_params()))
    assert len(str(caught.value).splitlines()) == 1


def test_what_lies_between_two_widths_is_interpolated(simulated: Profile) -> None:
    table: LatencyTable | None = simulated.latency
    assert table is not None
    layer = table.times[table.modules["stages.2.1.conv1"]]
    assert layer.in_ is not None
    whole = layer.ms(64, 64)
    assert layer.ms(64, 32) == pytest.approx(layer.in_.ms[7])
    assert layer.ms(32, 64) < layer.ms(34, 64) < layer.ms(36, 64) < whole
