"""Each operation of TrivialAugment against torchvision's, which works on single images."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from pipeline.data.augmentation import trivial as ours
from pipeline.data.augmentation.trivial import LEVELS, OPERATIONS, Choice, draw_trivial, trivial

Reference = Callable[[Tensor, float], Tensor]
"""An image and its signed level."""


def sheared(axis: int) -> Reference:
    def apply(image: Tensor, level: float) -> Tensor:
        degrees = [0.0, 0.0]
        degrees[axis] = math.degrees(math.atan(ours.MOST_CHANGE * level))
        moved: Tensor = vision.affine(
            image, angle=0.0, translate=[0, 0], scale=1.0, shear=degrees, center=[0.0, 0.0]
        )
        return moved

    return apply


def translated(axis: int) -> Reference:
    def apply(image: Tensor, level: float) -> Tensor:
        pixels = [0, 0]
        pixels[axis] = int(ours.MOST_PIXELS * level)
        moved: Tensor = vision.affine(image, angle=0.0, translate=pixels, scale=1.0, shear=[0.0, 0.0])
        return moved

    return apply


def factor(adjust: Callable[[Tensor, float], Tensor]) -> Reference:
    return lambda image, level: adjust(image, 1 + ours.MOST_CHANGE * level)


REFERENCES: dict[str, Reference] = {
    "identity": lambda image, _: image,
    "shear_x": sheared(0),
    "shear_y": sheared(1),
    "translate_x": translated(0),
    "translate_y": translated(1),
    "rotate": lambda image, level: vision.rotate(image, ours.MOST_DEGREES * level),
    "brightness": factor(vision.adjust_brightness),
    "color": factor(vision.adjust_saturation),
    "contrast": factor(vision.adjust_contrast),
    "sharpness": factor(vision.adjust_sharpness),
    "posterize": lambda image, level: vision.posterize(image, 8 - round(abs(level) * 6)),
    "solarize": lambda image, level: vision.solarize(image, 255.0 * (1 - abs(level))),
    "autocontrast": lambda image, _: vision.autocontrast(image),
    "equalize": lambda image, _: vision.equalize(image),
}
GEOMETRIC = {"shear_x", "shear_y", "translate_x", "translate_y", "rotate"}


def photographs(number: int = 12, channels: int = 3, height: int = 20, width: int = 24) -> Tensor:
    """Smooth images, so that a pixel taken from a neighbour is nearly right."""
    torch.manual_seed(0)
    coarse = torch.rand(number, channels, 5, 6) * 255
    return (
        torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 255).to(torch.uint8)
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_equals_torchvisions(name: str, channels: int) -> None:
    if channels == 1 and name == "color":
        pytest.skip("torchvision's saturation of a grey image is the image; so is ours, tested below")
    images = photographs(channels=channels)
    level = torch.linspace(0, 1, len(images)).mul(LEVELS - 1).round() / (LEVELS - 1)
    sign = torch.tensor([-1.0, 1.0]).repeat(len(images) // 2)
    found = OPERATIONS[name](images, level, sign)
    for image, result, strength in zip(images, found, (level * sign).tolist(), strict=True):
        expected = REFERENCES[name](image, strength)
        difference = (result.int() - expected.int()).abs()
        if name in GEOMETRIC:  # nearest neighbours may fall to either side
            assert (difference > 0).double().mean() < 0.02, (name, strength)
        else:
            assert difference.max() <= 1, (name, strength)


def test_every_image_gets_its_own_operation_and_the_input_stays() -> None:
    images = photographs(len(OPERATIONS))
    before = images.clone()
    choice = Choice(
        torch.arange(len(OPERATIONS)), torch.full((len(OPERATIONS),), 0.5), torch.ones(len(OPERATIONS))
    )
    found = trivial(images, choice)
    assert images.equal(before)
    for row, operation in enumerate(OPERATIONS.values()):
        assert found[row : row + 1].equal(
            operation(images[row : row + 1], torch.tensor([0.5]), torch.tensor([1.0]))
        )
    assert sum(a.equal(b) for a, b in zip(found, images, strict=True)) < 4


def test_color_leaves_grey_images_alone() -> None:
    images = photographs(channels=1)
    ones = torch.ones(len(images))
    assert (ours.color(images, ones, -ones).int() - images.int()).abs().max() <= 1


def test_choices_are_even_and_belong_to_the_sample() -> None:
    samples = torch.arange(14_000)
    choice = draw_trivial(samples, 3, 1)
    counts = choice.operation_B.bincount(minlength=14)
    assert ((counts - 1000.0).square() / 1000).sum() < 34.5  # chi-square, 13 degrees of freedom, p = 0.001
    assert sorted(set(choice.level_B.tolist())) == pytest.approx([level / 30 for level in range(31)])
    assert choice.sign_B.mean().abs() < 0.03
    alone = draw_trivial(samples[70:71], 3, 1)
    assert all(one.equal(whole[70:71]) for one, whole in zip(alone, choice, strict=True))
    assert not draw_trivial(samples, 3, 2).operation_B.equal(choice.operation_B)
