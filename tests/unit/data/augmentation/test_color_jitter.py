"""Colour jitter against torchvision's where both mean the same, and against what a turn of the hue means."""

import pytest
import torch

from pipeline.data.augmentation.color_jitter import Jitter, draw_jitter, jittered
from pipeline.data.augmentation.params import ColorJitterParams

functional = pytest.importorskip("torchvision.transforms.v2.functional")

NONE = Jitter(*torch.tensor([[1.0], [1.0], [1.0], [0.0]]).expand(4, 3))
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(60, 190, (3, 3, 9, 7), generator=GENERATOR, dtype=torch.uint8)


def factor(value: float) -> torch.Tensor:
    return torch.full((3,), value)


def test_no_change_is_no_change() -> None:
    assert jittered(IMAGES, NONE).equal(IMAGES)
    assert jittered(IMAGES[:, :1], NONE).equal(IMAGES[:, :1])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("value", [0.7, 1.2])
@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation"])
def test_factors_are_torchvisions(kind: str, value: float, channels: int) -> None:
    images = IMAGES[:, :channels]
    found = jittered(images, NONE._replace(**{f"{kind}_B": factor(value)})).int()
    expected = getattr(functional, f"adjust_{kind}")(images, value).int()
    assert (found - expected).abs().max() <= 1, "it rounds, torchvision cuts off"


def test_hue_keeps_brightness_and_comes_round_after_a_full_circle() -> None:
    turned = jittered(IMAGES, NONE._replace(hue_B=factor(1 / 3))).float()
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    inside = ((turned > 0) & (turned < 255)).all(dim=1)
    change = ((turned - IMAGES.float()) * weights).sum(dim=1)
    assert change[inside].abs().max() < 1
    assert (turned - IMAGES.float()).abs().mean() > 20
    assert (jittered(IMAGES, NONE._replace(hue_B=factor(1.0))).int() - IMAGES.int()).abs().max() <= 1
    grey = IMAGES[:, :1].expand(-1, 3, -1, -1)
    assert (jittered(grey, NONE._replace(hue_B=factor(0.4))).int() - grey.int()).abs().max() <= 1


def test_an_image_is_changed_as_its_row_and_epoch_say_whatever_stands_beside_it() -> None:
    params = ColorJitterParams(brightness=0.4, contrast=0.3, saturation=0.2, hue=0.1)
    rows = torch.tensor([8, 3, 5])
    whole = jittered(IMAGES, draw_jitter(rows, params, 1, 2))
    alone = [jittered(IMAGES[[place]], draw_jitter(rows[[place]], params, 1, 2)) for place in range(3)]
    assert whole.equal(torch.cat(alone))
    assert not whole.equal(jittered(IMAGES, draw_jitter(rows, params, 1, 3)))


def test_changes_are_spread_evenly_over_what_is_allowed() -> None:
    params = ColorJitterParams(brightness=0.4, contrast=0.0, saturation=1.0, hue=0.5)
    jitter = draw_jitter(torch.arange(20_000), params, 1, 2)
    for found, low, high in zip(jitter, (0.6, 1.0, 0.0, -0.5), (1.4, 1.0, 2.0, 0.5), strict=True):
        assert float(found.min()) == pytest.approx(low, abs=1e-3)
        assert float(found.max()) == pytest.approx(high, abs=1e-3)
        assert float(found.mean()) == pytest.approx((low + high) / 2, abs=0.01)
