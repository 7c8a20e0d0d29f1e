"""Distillation of maps: by hand, between networks of other shapes, and in a run whose adapters are not in the
model.
"""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from pipeline.errors import TrainingError
from pipeline.models.disk.weights import load_model
from pipeline.train.checkpoints.local import LocalStore
from pipeline.train.loop import fit
from pipeline.train.methods.distillation import Adapter, Tapped, tap, transfer
from pipeline.train.params import FeatureParams
from tests.support.compress_samples import network, spec_of
from tests.support.fit_samples import CONVOLUTIONS, changed_job, job, prepared_digits

PIXELS = torch.zeros(1, 3, 8, 8)


def features(kind: str = "features", layers: dict[str, str] | None = None) -> FeatureParams:
    return FeatureParams.model_validate({"kind": kind, "weight": 1.0, "layers": layers})


def channels(tapped: Tapped) -> list[tuple[int, int] | None]:
    """Of each adapter, None for one that changes nothing."""
    return [(a.in_features, a.out_features) if isinstance(a, Adapter) else None for a in tapped.adapters]


@pytest.mark.parametrize(
    ("layers", "images", "says"),
    [
        (
            [nn.Conv2d(1, 4, 5), nn.Conv2d(4, 4, 5)],
            torch.zeros(2, 1, 8, 8),
            r"does not take images of 1 x 8 x 8 \(module '1': RuntimeError: .*take another model\.name, or "
            r"other data\.height",
        ),
        (
            [nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4)],
            torch.zeros(1, 1, 8, 8),
            r"on a single image at a time \(module '2': ValueError: .*raise global_batch_size, or lower "
            r"accumulate or",
        ),
    ],
)
def test_images_that_a_network_cannot_take_are_named_with_the_module(
    layers: list[nn.Module], images: Tensor, says: str
) -> None:
    with pytest.raises(TrainingError, match=says):
        Tapped(nn.Sequential(*layers))(images)


def test_a_lost_device_or_connection_is_not_the_networks_fault() -> None:
    class Lost(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory"):
        Tapped(Lost())(PIXELS)


def test_features_are_compared_as_they_are() -> None:
    own, other = torch.zeros(2, 1, 1, 2), torch.tensor([[1.0, 3.0], [0.0, 2.0]]).view(2, 1, 1, 2)
    assert transfer([own], [other], features()).tolist() == [5.0, 2.0]
    assert transfer([own, own], [other, other], features()).tolist() == [10.0, 4.0]


def test_attention_compares_where_the_energy_lies_however_much_and_in_how_many_channels() -> None:
    own = torch.tensor([[3.0, 4.0]]).sqrt().view(1, 1, 1, 2)  # energy 3 and 4, of norm 5
    assert transfer([own], [10 * own.expand(1, 5, 1, 2)], features("attention")).item() == pytest.approx(
        0.0, abs=1e-12
    )
    left = torch.tensor([[1.0, 0.0]]).view(1, 1, 1, 2)
    assert transfer([own], [left], features("attention")).item() == pytest.approx(
        ((0.6 - 1) ** 2 + 0.8**2) / 2
    )


def test_the_last_stages_of_each_size_are_compared_with_an_adapter_where_channels_differ() -> None:
    student, teacher = network(spec_of("mobilenetv2", 4)), network(spec_of("resnet20", 8))
    own, taught = tap(student, teacher, features(), PIXELS)
    assert channels(own) == [(6, 8), (8, 16), (24, 32)]
    assert channels(taught) == [None, None, None]
    logits, maps = own(PIXELS)
    assert logits.equal(student(PIXELS))
    assert [found.shape for found in maps] == [found.shape for found in taught(PIXELS)[1]]
    assert channels(tap(student, teacher, features("attention"), PIXELS)[0]) == [None, None, None]


def test_an_adapter_is_a_convolution_of_single_pixels() -> None:
    adapter, convolution = Adapter(3, 5), torch.nn.Conv2d(3, 5, 1, bias=False)
    convolution.weight.data = adapter.weight.data[:, :, None, None]
    torch.testing.assert_close(adapter(PIXELS + 1.0), convolution(PIXELS + 1.0))


def test_a_teachers_module_may_teach_several() -> None:
    model = network(spec_of("vgg11", 4))
    own, taught = tap(
        model,
        network(spec_of("vgg11", 4)),
        features(layers={"stages.0": "stages.1", "stages.1": "stages.1"}),
        PIXELS,
    )
    assert channels(own) == [(4, 8), None]
    assert torch.equal(*taught(PIXELS)[1])


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        (
            {"stages.9": "stages.1"},
            r"features\.layers: the student has no module 'stages\.9'; did you mean 'stages\.\d'",
        ),
        (
            {"stages.1": "stagse.1"},
            r"features\.layers: the teacher has no module 'stagse\.1'; did you mean 'stages\.1'",
        ),
        (
            {"stages.0": "stages.2"},
            r"student's 'stages\.0' gives 4 x 8 x 8 .* teacher's 'stages\.2' 16 x 4 x 4; both must",
        ),
        ({"head": "head"}, r"student's 'head' gives 3 for an image"),
    ],
)
def test_what_cannot_be_compared_is_refused(layers: dict[str, str], says: str) -> None:
    model = network(spec_of("vgg11", 4))
    with pytest.raises(TrainingError, match=says):
        tap(model, network(spec_of("vgg11", 4)), features(layers=layers), PIXELS)


def test_networks_without_stages_need_names() -> None:
    model = network(spec_of("airbench", 8))
    with pytest.raises(TrainingError, match="layers is null, but student and teacher have no `stages`"):
        tap(model, network(spec_of("vgg11", 4)), features(), PIXELS)


def test_a_student_comes_nearer_to_its_teachers_maps(tmp_path: Path) -> None:
    data, layers = prepared_digits(tmp_path), {"stages.0": "stages.1", "stages.2": "stages.2"}
    fit(job(data, tmp_path / "first", model=CONVOLUTIONS, epochs=1), "cpu", 1)
    teacher = tmp_path / "first/result/model"
    distances = []
    for weight in (1e-6, 10.0):
        learned = {"kind": "features", "weight": weight, "layers": layers}
        distil = {"teacher": "dense", "temperature": 1.0, "weight": 0.0, "features": learned}
        the_job = job(data, tmp_path / str(weight), model=CONVOLUTIONS, epochs=2, distil=distil, seed=1)
        fit(changed_job(the_job, teacher=teacher), "cpu", 1)
        distances.append(distance(the_job.site.run_dir, teacher))
        adapter = checkpointed(the_job.site.run_dir)["adapters.0.weight"]
        assert adapter.shape == (8, 4)
        written = safetensors.torch.load_file(the_job.site.run_dir / "result/model/weights.safetensors")
        assert not [name for name in written if "adapter" in name]
    assert distances[1] < 0.5 * distances[0]


def checkpointed(run_dir: Path) -> dict[str, Tensor]:
    found = LocalStore(run_dir / "checkpoints").newest()
    assert found is not None
    return found[0]


def distance(run_dir: Path, teacher: Path) -> float:
    """Between the maps of the third stages, for noise."""
    pixels = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    maps: list[Any] = []
    for folder in (run_dir / "result/model", teacher):
        model = load_model(folder)[1]
        model.get_submodule("stages.2").register_forward_hook(
            lambda _m, _i, output: maps.append(output.detach())
        )
        model(pixels)
    return float((maps[0] - maps[1]).square().mean())
