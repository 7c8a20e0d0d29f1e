"""The module that runs in a forward pass: errors of a network name the one in which it stopped."""

import torch
from torch import Tensor, nn

from pipeline.errors import TrainingError


class ModuleTracker:
    """Remembers which module runs, so that a tracing error can name it: `name` is the one entered last."""

    def __init__(self, model: nn.Module) -> None:
        self.name = ""
        self._model = model
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> "ModuleTracker":
        for name, module in self._model.named_modules():
            self._hooks.append(module.register_forward_pre_hook(lambda *_, name=name: self._enter(name)))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _enter(self, name: str) -> None:
        self.name = name


def not_taken(model: nn.Module, images_BCHW: Tensor, error: Exception) -> TrainingError:
    """What to say of an error that a forward pass of these images met, and that it meets again."""
    with torch.no_grad(), ModuleTracker(model) as current:
        _runs(model, images_BCHW)
        where = f"module {current.name!r}: " if current.name else ""
        is_too_few = len(images_BCHW) == 1 and _runs(model, images_BCHW.repeat(2, 1, 1, 1))
    said = f"{where}{type(error).__name__}: {' '.join(str(error).split())}"
    if is_too_few:
        return TrainingError(
            f"the network cannot be trained on a single image at a time ({said}); raise global_batch_size, "
            "or lower accumulate or resources.workers"
        )
    size = " x ".join(map(str, images_BCHW.shape[1:]))
    return TrainingError(
        f"the network does not take images of {size} ({said}); take another model.name, or other data.height "
        "and data.width"
    )


def _runs(model: nn.Module, images_BCHW: Tensor) -> bool:
    try:
        model(images_BCHW)
    except Exception:  # of whatever kind: the caller has met it before
        return False
    return True
