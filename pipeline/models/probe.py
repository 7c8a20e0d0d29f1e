"""Where a forward pass is: errors of tracing name the module in which it stopped."""

import torch
from torch import nn


class LastModule:
    """While the block runs, `name` is the module that was entered last."""

    def __init__(self, model: nn.Module) -> None:
        self.name = ""
        self._model = model
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> "LastModule":
        for name, module in self._model.named_modules():
            self._hooks.append(module.register_forward_pre_hook(lambda *_, name=name: self._enter(name)))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _enter(self, name: str) -> None:
        self.name = name
