"""After a cut, batch norms take the means and variances of what reaches them now."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.data.prepared.reader import Split
from pipeline.models.disk.weights import load_model
from pipeline.models.nets.cut import apply_plan
from pipeline.prune.batch_norm import renew_statistics
from pipeline.prune.channels.sample import sample
from pipeline.prune.prune import prune
from tests.support.compress_samples import (
    ROWS,
    SIZE,
    TASK,
    fixed_profile,
    network,
    prepared_data,
    prune_params,
    saved,
    spec_of,
    trained,
)

SPEC = spec_of("resnet20")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def train(data: Path) -> Split:
    return Split.open(data, "train")


def test_a_sample_has_different_images_that_the_seed_chooses(train: Split) -> None:
    def images(seed: int) -> torch.Tensor:
        return torch.cat(
            [
                batch.inputs["pixels"]
                for batch in sample(SPEC, train, prune_params(sample_batches=3, seed=seed), 10)
            ]
        )

    assert len(images(0)) == 3 * 16
    assert len({image.numpy().tobytes() for image in images(0)}) == 3 * 16
    assert images(0).equal(images(0))
    assert not images(0).equal(images(1))


def test_statistics_are_means_over_the_batches_of_the_sample(train: Split) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.3), nn.Dropout(0.5))
    params = prune_params(sample_batches=2)
    renew_statistics(model.train(), SPEC, train, params)
    with torch.no_grad():
        maps = [model[0](each.inputs["pixels"]) for each in sample(SPEC, train, params, params.batch_size)]
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d)
    torch.testing.assert_close(
        norm.running_mean, torch.stack([each.mean((0, 2, 3)) for each in maps]).mean(0)
    )
    torch.testing.assert_close(norm.running_var, torch.stack([each.var((0, 2, 3)) for each in maps]).mean(0))
    assert norm.momentum == 0.3
    assert not any(module.training for module in model.modules())


def test_one_image_has_no_variance(train: Split) -> None:
    """A batch of one at the end is left out, also where all are of one."""
    for batch_size, sample_batches in ((ROWS["train"] - 1, 2), (1, 4)):
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE**2, 4), nn.BatchNorm1d(4))
        renew_statistics(
            model, SPEC, train, prune_params(batch_size=batch_size, sample_batches=sample_batches)
        )
        assert (model[2].running_var != 1.0).all()  # type: ignore[union-attr]


def test_pruning_changes_statistics_alone_of_what_it_keeps(data: Path, tmp_path: Path) -> None:
    dense = trained(SPEC, data)
    saved(tmp_path / "dense", SPEC, dense)
    prune(tmp_path / "dense", data, tmp_path / "pruned", prune_params(), fixed_profile(), TASK)
    spec, pruned = load_model(tmp_path / "pruned")
    cut = apply_plan(copy.deepcopy(dense), spec.plan)
    assert all(one.equal(other) for one, other in zip(cut.parameters(), pruned.parameters(), strict=True))
    assert not any(
        one.running_mean.equal(other.running_mean)  # type: ignore[union-attr, arg-type]
        for one, other in zip(cut.modules(), pruned.modules(), strict=True)
        if isinstance(one, nn.BatchNorm2d)
    )


def test_what_loses_nothing_stays_as_it_was_trained(data: Path, tmp_path: Path) -> None:
    saved(tmp_path / "dense", SPEC, network(SPEC))
    prune(
        tmp_path / "dense",
        data,
        tmp_path / "pruned",
        prune_params(target={"macs": 1.0}),
        fixed_profile(),
        TASK,
    )
    dense, pruned = (load_model(tmp_path / name)[1].state_dict() for name in ("dense", "pruned"))
    assert all(pruned[name].equal(tensor) for name, tensor in dense.items())
