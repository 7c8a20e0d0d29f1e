"""Training batches: the order of the changes, and what mixing keeps of both samples."""

import pytest
import torch

from pipeline.data.augmentation.augment import augment, draw_choices
from pipeline.data.augmentation.mix import draw_mix
from pipeline.data.augmentation.params import AugmentParams, ColorJitterParams, ResizedCropParams
from pipeline.data.augmentation.reading import MakingReader, StoredReader
from pipeline.data.augmentation.recipe import Augmentation
from pipeline.data.prepared.reader import Preprocess, Split
from tests.support.compress_samples import prepared_data

PLAIN = AugmentParams(
    resized_crop=None,
    color_jitter=None,
    trivial=False,
    flip="random",
    crop_padding=2,
    crop_fill="black",
    cutout=0,
    erase=0.0,
    mixup=0.0,
    cutmix=0.0,
)
JITTER = ColorJitterParams(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)
PREPROCESS = Preprocess([0.4, 0.4, 0.4], [0.25, 0.25, 0.25])
ROWS = torch.tensor([3, 0, 7, 8])


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return Split.open(prepared_data(tmp_path_factory.mktemp("data")), "train")


def test_images_are_changed_and_then_preprocessed(train: Split) -> None:
    batch = Augmentation(StoredReader(train), PLAIN, PREPROCESS, seed=1).batch(ROWS, 2, "cpu")
    changed = augment(train.images(ROWS), draw_choices(ROWS, PLAIN, 1, 2))
    expected = (changed.double() / 255 - 0.4) / 0.25
    torch.testing.assert_close(batch.inputs["pixels"].double(), expected, atol=1e-5, rtol=1e-5)
    assert batch.targets["label"].equal(train.targets["label"][ROWS])
    assert (batch.others, batch.share) == (None, None)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_mixed_batch_has_the_targets_of_the_partners_and_the_shares(train: Split, kind: str) -> None:
    params = PLAIN.model_copy(update={kind: 1.0})
    batch = Augmentation(StoredReader(train), params, PREPROCESS, seed=1).batch(ROWS, 2, "cpu")
    mixing = draw_mix(ROWS, len(train), params, 1, 2)
    assert mixing is not None
    assert batch.others is not None
    assert batch.share is not None
    assert batch.others["label"].equal(train.targets["label"][mixing.partners_B])
    assert batch.share.shape == ROWS.shape


def test_a_sample_does_not_depend_on_its_batch(train: Split) -> None:
    params = PLAIN.model_copy(update={"trivial": True, "color_jitter": JITTER})
    augmentation = Augmentation(StoredReader(train), params, PREPROCESS, seed=1)
    whole, part = (augmentation.batch(rows, 2, "cpu") for rows in (ROWS, ROWS[1:3]))
    assert part.inputs["pixels"].equal(whole.inputs["pixels"][1:3])
    assert not part.inputs["pixels"].equal(augmentation.batch(ROWS[1:3], 3, "cpu").inputs["pixels"])


CROP = ResizedCropParams(scale=[0.2, 1.0], ratio=[0.75, 1.3])


@pytest.mark.parametrize("kind", ["none", "cutmix"])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_see_the_same_crops_made_ahead_as_one_that_reads_them_alone(
    train: Split, kind: str, workers: int
) -> None:
    params = PLAIN.model_copy(update={"crop_padding": 0} | ({"cutmix": 1.0} if kind == "cutmix" else {}))
    alone = Augmentation(MakingReader(train, CROP, 1, threads=1), params, PREPROCESS, seed=1)
    batches = torch.arange(len(train)).flip(0).chunk(3)
    for worker in range(workers):
        parts = [rows.tensor_split(workers)[worker] for rows in batches]
        reader = MakingReader(train, CROP, 1, threads=3)
        ahead = Augmentation(reader, params, PREPROCESS, seed=1)
        ahead.expect(parts, 5)
        found = torch.cat([ahead.batch(rows, 5, "cpu").inputs["pixels"] for rows in parts])
        reader.close()
        assert found.equal(alone.batch(torch.cat(parts), 5, "cpu").inputs["pixels"])
    other = alone.batch(torch.cat(parts), 6, "cpu").inputs["pixels"]
    assert not other.equal(found), "each epoch has its own"
