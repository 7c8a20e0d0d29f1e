"""Training batches: the order of the changes, and what mixing keeps of both samples."""

import pytest
import torch

from pipeline.data.augmentation.augment import augment, draw_choices
from pipeline.data.augmentation.mix import draw_mix
from pipeline.data.augmentation.params import AugmentParams
from pipeline.data.augmentation.recipe import Augmentation
from pipeline.data.prepared.reader import Preprocess, Split
from tests.support.compress_samples import prepared_data

PLAIN = AugmentParams(
    trivial=False,
    flip="random",
    crop_padding=2,
    crop_fill="black",
    cutout=0,
    erase=0.0,
    mixup=0.0,
    cutmix=0.0,
)
PREPROCESS = Preprocess([0.4, 0.4, 0.4], [0.25, 0.25, 0.25])
ROWS = torch.tensor([3, 0, 7, 8])


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return Split.open(prepared_data(tmp_path_factory.mktemp("data")), "train")


def test_images_are_changed_and_then_preprocessed(train: Split) -> None:
    batch = Augmentation(train, PLAIN, PREPROCESS, seed=1).batch(ROWS, 2, "cpu")
    changed = augment(train.images(ROWS), draw_choices(ROWS, PLAIN, 1, 2))
    expected = (changed.double() / 255 - 0.4) / 0.25
    torch.testing.assert_close(batch.inputs["pixels"].double(), expected, atol=1e-5, rtol=1e-5)
    assert batch.targets["label"].equal(train.targets["label"][ROWS])
    assert (batch.others, batch.share) == (None, None)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_mixed_batch_has_the_targets_of_the_partners_and_the_shares(train: Split, kind: str) -> None:
    params = PLAIN.model_copy(update={kind: 1.0})
    batch = Augmentation(train, params, PREPROCESS, seed=1).batch(ROWS, 2, "cpu")
    mixing = draw_mix(ROWS, len(train), params, 1, 2)
    assert mixing is not None
    assert batch.others is not None
    assert batch.share is not None
    assert batch.others["label"].equal(train.targets["label"][mixing.partners_B])
    assert batch.share.shape == ROWS.shape


def test_a_sample_does_not_depend_on_its_batch(train: Split) -> None:
    augmentation = Augmentation(train, PLAIN.model_copy(update={"trivial": True}), PREPROCESS, seed=1)
    whole, part = (augmentation.batch(rows, 2, "cpu") for rows in (ROWS, ROWS[1:3]))
    assert part.inputs["pixels"].equal(whole.inputs["pixels"][1:3])
    assert not part.inputs["pixels"].equal(augmentation.batch(ROWS[1:3], 3, "cpu").inputs["pixels"])
