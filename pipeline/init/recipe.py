"""Network and recipe: one of three presets, with epochs, batch and rates that fit the number of images."""

import re
from dataclasses import dataclass
from typing import Any

from pipeline.init.images import ImageChoice
from pipeline.init.target import Target

PRESET_OF = {"tiny": "digits", "small": "cifar10", "photographs": "photos"}
RANDOM_NETWORK = {"name": "torchvision/resnet18", "width": None, "init": "random"}
"""Network for photographs without trained weights."""
PRESET_BATCH = {"tiny": 128, "small": 256, "photographs": 32}
STEPS_AN_EPOCH = 12
"""Fewest steps, if there are images for them: fewer learn too little before the next pass."""
SMALLEST_BATCH = 16
IMAGES_SEEN = 60_000
"""Images that a training on a small data set sees, from which its epochs follow."""
MOST_SEEN = 3_000_000
FROM_RANDOM_EPOCHS = (30, 60)
TRANSFER_SEEN = 12_000
TRANSFER_EPOCHS = (6, 16)
SIDES = re.compile(r"left|right|east|west|clockwise", re.IGNORECASE)


@dataclass(frozen=True)
class RecipeChoice:
    """preset: that it changes. changes: of its sections. why: in a few words, for each choice."""

    preset: str
    changes: dict[str, Any]
    why: list[str]


def choose_recipe(images: ImageChoice, target: Target, train_rows: int, network: str | None) -> RecipeChoice:
    """network: that trained weights are of, None without."""
    batch = _batch(PRESET_BATCH[images.kind], train_rows)
    epochs = _epochs(train_rows, network is not None)
    flip, why_flip = _flip(target, images)
    share = batch / PRESET_BATCH[images.kind]
    train: dict[str, Any] = {"epochs": epochs, "global_batch_size": batch}
    finetune: dict[str, Any] = {"epochs": max(3, epochs // 2), "global_batch_size": batch}
    for section, rate in ((train, _rate(images, network)), (finetune, _rate(images, network) * 0.75)):
        section["optimizer"] = {"lr": round(rate * share, 5)}
        section["augment"] = {"flip": flip}
        section["ema_decay"] = _ema(section["epochs"] * train_rows // batch)
    changes: dict[str, Any] = {"train": train, "finetune": finetune}
    if images.kind == "photographs" and network is None:
        changes["model"] = RANDOM_NETWORK
        sgd = {"name": "sgd", "momentum": 0.9, "weight_decay": 0.0005, "layer_decay": None}
        train["optimizer"] |= sgd
        finetune["optimizer"] |= sgd
        train["head_first_epochs"] = 0
    elif network is not None:
        changes["model"] = {"name": network, "width": None, "init": "file"}
    return RecipeChoice(PRESET_OF[images.kind], changes, [why_flip])


def _batch(usual: int, rows: int) -> int:
    """The largest power of two that still gives STEPS_AN_EPOCH, if it is not very small."""
    most = min(usual, max(SMALLEST_BATCH, rows // STEPS_AN_EPOCH), rows)
    return 1 << (most.bit_length() - 1)


def _epochs(rows: int, transfer: bool) -> int:
    least, most = TRANSFER_EPOCHS if transfer else FROM_RANDOM_EPOCHS
    seen = TRANSFER_SEEN if transfer else IMAGES_SEEN
    return max(2, min(max(least, min(most, seen // rows)), max(2, MOST_SEEN // rows)))


def _rate(images: ImageChoice, network: str | None) -> float:
    """Peak learning rate at the preset's batch size."""
    if images.kind == "photographs":
        return 0.05 if network is None else 0.001
    return 0.1 if images.kind == "tiny" else 0.4


def _ema(steps: int) -> float:
    """Decay by which the average reaches over the last 4 % of the steps."""
    return round(min(0.998, max(0.9, 1 - 25 / max(1, steps))), 4)


def _flip(target: Target, images: ImageChoice) -> tuple[str, str]:
    """Whether a mirror image still is of its class, as far as names tell, and why."""
    names = sorted(set(target.names))
    if names and all(len(name) == 1 for name in names):
        return "none", "no flips: classes are single characters, which a mirror changes"
    if sided := sorted(name for name in names if SIDES.search(name)):
        return "none", f"no flips: class {sided[0]!r} tells sides apart"
    if images.keys["channels"] == 1 and images.kind != "photographs":
        return "none", "no flips: small grey images are mostly characters"
    return "random", "flips: nothing in the names of classes tells left from right"
