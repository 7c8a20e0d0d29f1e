"""The stage `profile`: networks are timed in the order in which channels go, and the widest within the target
is taken.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.base.params import parse_section
from pipeline.compare.latency import measure_latency
from pipeline.data.prepared.reader import Split
from pipeline.errors import ArtifactError, CompressionError, ParamsError
from pipeline.evaluate.params import LatencyParams
from pipeline.export.onnx import export_onnx
from pipeline.models.description.spec import ModelSpec
from pipeline.models.disk.artifact import read_spec
from pipeline.models.disk.weights import load_model
from pipeline.models.nets.build import example
from pipeline.profile.measure import LARGEST_GAP, Subject, fastest, measure
from pipeline.profile.profile import make_profile
from pipeline.profile.timing import UNSAVED, CpuDevice, TimedCall, in_turns, turn_s
from pipeline.prune.channels.ranking import PruneGoal, make_plan
from pipeline.prune.channels.widths import Widths, layer_costs
from pipeline.prune.params import ShapeParams
from pipeline.prune.profile_report import Profile, RoundingTrial, read_profile
from pipeline.prune.prune import Part, prune
from tests.support.compress_samples import TASK, network, prepared_data, prune_params, saved, spec_of
from tests.support.tasks import classification

LATENCY = {"latency": 0.5, "device": "cpu", "batch": 1}
BLOCK = 4
TASK_PARAMS = classification()


def shape_params(**changes: Any) -> ShapeParams:
    return prune_params(**{"target": LATENCY, "round_to": BLOCK} | changes)


class Simulated:
    """A device on which a layer works in blocks of 4 channels, and takes longer where a number of channels is
    none of them.

    A network takes a constant beside its layers.
    """

    name, runtime = "simulated", "none"

    def __init__(self) -> None:
        self.timed: list[Widths] = []
        self._positions: dict[str, float] = {}

    def network(self, spec: ModelSpec, model: nn.Module) -> TimedCall:
        if not self._positions:  # to which a kernel is applied: as many at any width
            layers = layer_costs(model, example(spec, 1))
            self._positions = {
                name: layer.macs / layer.weights for name, layer in layers.items() if layer.weights
            }
        convolutions = {
            name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)
        }
        self.timed.append(
            {name: (conv.out_channels, conv.in_channels) for name, conv in convolutions.items()}
        )
        time = 2000.0 + sum(_work(*widths) * self._positions[name] for name, widths in self.timed[-1].items())
        return lambda: time

    def seconds(self, run: TimedCall) -> float:
        return float(run())  # type: ignore[arg-type]


def _work(out: int, in_: int) -> float:
    odd = 1.3 if out % BLOCK or (in_ % BLOCK and in_ > BLOCK) else 1.0
    return odd * math.ceil(out / BLOCK) * math.ceil(in_ / BLOCK)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a network."""
    folder = tmp_path_factory.mktemp("models") / "dense"
    saved(folder, spec_of("resnet20", 16), network(spec_of("resnet20", 16)))
    return folder


@pytest.fixture(scope="module")
def simulated(dense: Path, data: Path) -> Profile:
    return measured(dense, data)


def measured(dense: Path, data: Path, **changes: Any) -> Profile:
    return measure(Subject.of(dense, data, shape_params(**changes), TASK_PARAMS), Simulated())


def taken(folder: Path, dense: Path) -> float:
    """Of the dense network's time."""
    device = Simulated()
    ours, theirs = (device.seconds(device.network(*load_model(each))) for each in (folder, dense))
    return ours / theirs


@pytest.mark.parametrize("importance", ["l2", "taylor"])
def test_the_pruned_network_is_the_widest_that_was_timed_and_meets_the_target(
    dense: Path, data: Path, tmp_path: Path, importance: str
) -> None:
    profile = measured(dense, data, importance=importance)
    report = prune(
        dense, data, tmp_path / "pruned", prune_params(target=LATENCY, importance=importance), profile, TASK
    )
    assert profile.chosen is not None
    assert report.notes == {"round_to": BLOCK, "latency_fraction": profile.chosen.latency, "latency_batch": 1}
    assert taken(tmp_path / "pruned", dense) == pytest.approx(profile.chosen.latency, abs=1e-4)
    assert 0.48 <= profile.chosen.latency <= 0.5
    assert report.pruned.macs / report.dense.macs == pytest.approx(profile.chosen.macs)
    assert [trial.macs for trial in profile.chosen.trials if trial.latency <= 0.5][-1] == profile.chosen.macs


def test_cut_in_parts_it_ends_in_the_widths_that_were_timed(
    dense: Path, data: Path, simulated: Profile, tmp_path: Path
) -> None:
    """Also where the training in between changed what each channel is worth."""
    params = prune_params(target=LATENCY, round_to=BLOCK)
    prune(dense, data, tmp_path / "half", params, simulated, TASK, Part(0.5))
    spec, model = load_model(tmp_path / "half")
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.1, 1.0)
    saved(tmp_path / "tuned", spec, model)
    report = prune(dense, data, tmp_path / "whole", params, simulated, TASK, Part(1.0, tmp_path / "tuned"))
    assert taken(tmp_path / "half", dense) > 0.6
    assert taken(tmp_path / "whole", dense) == pytest.approx(report.notes["latency_fraction"], abs=1e-4)
    half, whole = (read_spec(tmp_path / name).plan for name in ("half", "whole"))
    assert all(kept.out is None or set(whole[name].out or []) <= set(kept.out) for name, kept in half.items())


class Shifting(Simulated):
    """A device that in the second pass is faster with all networks but the dense one, so that wider ones seem
    to fit.
    """

    def __init__(self) -> None:
        super().__init__()
        self._runs = 0

    def network(self, spec: ModelSpec, model: nn.Module) -> TimedCall:
        run, is_dense = super().network(spec, model), len(self.timed) == 1

        def shifted() -> float:
            self._runs += 1
            second = 10 * 6 < self._runs <= 10 * (6 + 7)  # rounds by networks of the first two passes
            return float(run()) * (0.9 if second and not is_dense else 1.0)  # type: ignore[arg-type]

        return shifted


def test_a_network_that_fits_in_one_pass_alone_leaves_no_gap(dense: Path, data: Path) -> None:
    chosen = measure(Subject.of(dense, data, shape_params(), TASK_PARAMS), Shifting()).chosen
    assert chosen is not None
    following = min(trial.macs for trial in chosen.trials if trial.macs > chosen.macs)
    assert chosen.latency <= 0.5
    assert following - chosen.macs < LARGEST_GAP


def test_no_network_is_timed_twice(dense: Path, data: Path) -> None:
    device = Simulated()
    measure(
        Subject.of(dense, data, shape_params(round_to=16, target=LATENCY | {"latency": 0.6}), TASK_PARAMS),
        device,
    )
    cuts = [widths for widths in device.timed if widths != device.timed[0]]
    assert all(widths not in cuts[:index] for index, widths in enumerate(cuts))


def test_the_dense_network_is_what_a_target_of_all_leaves(dense: Path, data: Path) -> None:
    chosen = measured(dense, data, target=LATENCY | {"latency": 1.0}).chosen
    assert chosen is not None
    assert chosen.macs == 1.0


def test_a_rounding_that_the_device_likes_is_chosen(dense: Path, data: Path) -> None:
    profile = measured(dense, data, target={"macs": 0.5}, round_to="auto")
    assert profile.round_to == BLOCK
    assert profile.chosen is None
    assert [trial.round_to for trial in profile.roundings][:3] == [1, 4, 8]
    assert all(trial.cost <= 0.5 for trial in profile.roundings)
    assert measured(dense, data, round_to="auto").round_to == BLOCK


def test_a_coarser_rounding_must_be_faster_for_the_same_cost_and_reach_the_target() -> None:
    def trial(round_to: int, cost: float, latency: float, lowest: float | None = None) -> RoundingTrial:
        return RoundingTrial(round_to=round_to, cost=cost, latency=latency, lowest=lowest)

    assert fastest([trial(1, 0.5, 0.6), trial(8, 0.4, 0.48)], 0.5) == 1
    assert fastest([trial(1, 0.5, 0.6), trial(8, 0.5, 0.5), trial(16, 0.5, 0.49)], 0.5) == 8
    assert fastest([trial(1, 0.5, 0.6, 0.1), trial(8, 0.5, 0.5, 0.2), trial(16, 0.5, 0.3, 0.55)], 0.5) == 8
    assert fastest([trial(1, 0.5, 0.6, 0.55), trial(8, 0.5, 0.5, 0.52), trial(16, 0.5, 0.4, 0.53)], 0.5) == 8


@pytest.mark.parametrize("round_to", [BLOCK, "auto"])
def test_a_target_out_of_reach_says_what_can_be_reached(dense: Path, data: Path, round_to: int | str) -> None:
    with pytest.raises(
        CompressionError, match=r"0\.100 of the dense latency is out of reach; .* 0\.\d+ to 1\.0 can be"
    ):
        measured(dense, data, target=LATENCY | {"latency": 0.1}, max_ratio=0.3, round_to=round_to)


@pytest.mark.parametrize(
    "counted",
    [
        {"target": {"macs": 0.5}},
        {"target": {"weights": 0.5}},
        {"student": {"name": "mlp", "width": 8, "dropout": 0.0, "stochastic_depth": 0.0}},
    ],
)
def test_nothing_is_measured_where_nothing_must_be(counted: dict[str, Any], tmp_path: Path) -> None:
    """Not even the network is read."""
    profile = make_profile(tmp_path / "none", tmp_path, shape_params(**counted), TASK_PARAMS)
    assert (profile.roundings, profile.chosen) == ([], None)


def test_a_profile_survives_json_and_damage_is_named(simulated: Profile, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(simulated.to_json())
    assert read_profile(path) == simulated
    assert set(simulated.metrics()) == {"round_to", "latency_fraction"}
    path.write_text("{}")
    with pytest.raises(
        ArtifactError, match=r"profile.json: not a profile .* `dvc repro -f -s profile` makes it again"
    ):
        read_profile(path)


def test_a_profile_of_another_network_is_refused(simulated: Profile, data: Path) -> None:
    spec, train = spec_of("resnet20", 8), Split.open(data, "train")
    with pytest.raises(
        ArtifactError, match=r"profile.json: is of another network or target; run `dvc repro -f -s profile`"
    ):
        make_plan(network(spec), spec, train, prune_params(target=LATENCY), TASK, PruneGoal(simulated))


@pytest.mark.parametrize(
    ("runs", "middle_s"), [([0.01, 0.03, 0.02, 0.05], 0.03), ([0.04, 0.07], 0.07), ([0.2], 0.2)]
)
def test_the_first_run_of_a_turn_counts_only_alone(runs: list[float], middle_s: float) -> None:
    """It brings the weights back into the caches, which the other networks' have filled."""
    times = iter(runs)
    assert turn_s(Simulated(), lambda: next(times)) == middle_s
    assert not list(times), "a turn is 0.1 s long"


def test_a_slow_spell_of_the_machine_changes_no_ratio() -> None:
    """Both take longer in it; a spell that meets one of them alone is left to the median of the rounds."""
    dense, half = iter([0.2, 0.4, 0.2]), iter([0.1, 0.2, 0.3])
    assert in_turns(Simulated(), [lambda: next(dense), lambda: next(half)], 3) == [
        [1.0] * 3,
        pytest.approx([0.5, 0.5, 1.5]),
    ]


def test_a_network_is_timed_as_it_is_deployed(tmp_path: Path) -> None:
    spec, device = spec_of("mlp"), CpuDevice(batch=3, threads=1)
    run = device.network(spec, network(spec))
    assert run()["logits"].shape == (3, 3)  # type: ignore[index]
    assert turn_s(device, run) > 0
    export_onnx(spec.model_copy(update={"weights": UNSAVED}), network(spec), tmp_path / "dense.onnx")
    few = LatencyParams(batches=[3], warmup=0, repeats=20, threads=1)
    compared = measure_latency({"dense": tmp_path / "dense.onnx"}, few)["dense"]
    # So the summary may hold them side by side.
    assert f"{device.name}, {device.runtime}" == compared.measured_on


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    params = shape_params(target=LATENCY | {"device": "cuda"})
    with pytest.raises(CompressionError, match=r"prune\.target\.device is cuda, but torch sees no GPU here"):
        make_profile(tmp_path / "none", tmp_path, params, TASK_PARAMS)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            0.5,
            r"prune.target: 0.5 of what\? Write \{macs: 0.5\}, \{params: 0.5\} or for example \{latency: "
            r"0.5, device: cpu",
        ),
        (
            {"macs": 0.5, "params": 0.5},
            "prune.target: has macs and params of macs, params, latency, weights, but one is the target",
        ),
        ({}, "prune.target: has none of macs, params, latency, weights, but one is the target"),
        ({"mac": 0.5}, r"unknown key 'prune.target.mac'; did you mean 'macs'\?"),
        (
            {"latensy": 0.5, "device": "cpu", "batch": 1},
            r"unknown key 'prune.target.latensy'; did you mean 'latency'\?",
        ),
        ({"macs": 1.5}, r"prune.target.macs is 1.5, but input should be less than or equal to 1"),
        (
            {"macs": 0.5, "batch": 1},
            "prune.target: batch belongs to latency, but the target is macs; remove it",
        ),
        (
            {"weights": 0.5, "batch": 1},
            "prune.target: batch belongs to latency, but the target is weights; remove it",
        ),
        (
            {"macs": 0.5, "pattern": "2_of_4"},
            "prune.target: pattern belongs to weights, but the target is macs; remove it",
        ),
        (
            {"weights": 0.4, "pattern": "2_of_4"},
            "prune.target: pattern 2_of_4 keeps 0.5 of the weights, not 0.4; write that",
        ),
        ({"latency": 0.5, "batch": 1}, "prune.target: latency needs a device and a batch, for example"),
        (
            {"latency": 0.5, "device": "gpu", "batch": 1},
            "prune.target.device is 'gpu', but input should be 'cpu' or 'cuda'",
        ),
        (
            {"latency": 0.5, "device": "cuda", "batch": 1, "threads": 2},
            "prune.target: threads are onnxruntime's on a cpu",
        ),
    ],
)
def test_a_wrong_target_is_one_clear_error(target: object, message: str) -> None:
    with pytest.raises(ParamsError, match=message) as caught:
        parse_section("prune", prune_params().model_dump() | {"target": target}, type(prune_params()))
    assert len(str(caught.value).splitlines()) == 1
