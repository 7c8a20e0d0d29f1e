"""Everything that training changes, as tensors and plain values, so that a resumed run cannot differ."""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from pipeline.train import ranks
from pipeline.train.optim import Ema


@dataclass
class Progress:
    """Where a run is. Random streams are functions of (seed, epoch, step), so positions are all they need."""

    epoch: int = 0
    batch: int = 0
    """Batches and, in `seen`, images of the current epoch that were trained on."""
    seen: int = 0
    step: int = 0
    best: float | None = None
    best_loss: float = 0.0
    epochs_since_best: int = 0
    done: bool = False
    placements: list[str] = field(default_factory=list)
    """Workers, threads and device, each where the run went on: they decide the last bit of the weights."""
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def epoch_of_last_batch(self) -> int:
        """Number of the epoch, from 1."""
        return self.epoch + (self.batch > 0)


class State:
    """Model, adapters, optimizer, scaler, moving average, best weights and progress of a run.

    adapters: trained with the model, and no part of what a finished run leaves (features.py).
    """

    def __init__(
        self, model: nn.Module, adapters: nn.Module, optimizer: Optimizer, scaler: GradScaler, ema: Ema | None
    ) -> None:
        self.model = model
        self.adapters = adapters
        self.optimizer = optimizer
        self.scaler = scaler
        self.ema = ema
        self.progress = Progress()
        self.best_weights: dict[str, Tensor] = {}
        device = next(model.parameters()).device
        self.loss_sum = torch.zeros((), device=device)
        """Sum of this rank's sample losses in the current epoch."""
        self.first_bad = torch.full((), -1, device=device)
        """The first step at which the loss, or the state before it, is not finite, or -1."""

    @property
    def deployed(self) -> nn.Module:
        """The weights that are validated and kept: the moving average if there is one."""
        return self.ema.averaged if self.ema else self.model

    def add_loss(self, loss: Tensor) -> None:
        """Note a step's sum of losses.

        No .item() here: what is not finite is found by tensor operations alone.
        """
        self._note(torch.isfinite(loss))
        self.loss_sum += loss

    def check(self) -> None:
        """Note if anything of a checkpoint is not finite: an update can overflow though its loss did not.

        A sum is not finite if any of its terms is not: a sixth of what the copy for the checkpoint takes.
        """
        held = self.tensors(self.loss_sum[None]).values()
        # Counters of steps may lie on another device.
        sums = [
            tensor.sum()
            for tensor in held
            if tensor.is_floating_point() and tensor.device == self.loss_sum.device
        ]
        self._note(torch.stack(sums).isfinite().all())

    def _note(self, finite: Tensor) -> None:
        self.first_bad = torch.where((self.first_bad < 0) & ~finite, self.progress.step, self.first_bad)

    def keep_best(self) -> None:
        self.best_weights = {
            name: tensor.detach().clone() for name, tensor in self.deployed.state_dict().items()
        }

    def final_weights(self, *, best: bool) -> dict[str, Tensor]:
        """The weights that a finished run leaves: the best validated ones, or the last."""
        weights = self.best_weights if best else self.deployed.state_dict()
        return {name: tensor.detach().cpu() for name, tensor in weights.items()}

    def tensors(self, losses_R: Tensor) -> dict[str, Tensor]:
        """Everything that is a tensor, by name. losses_R: `loss_sum` of every rank."""
        found = {"losses": losses_R}
        found |= {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        found |= {f"adapters.{name}": tensor for name, tensor in self.adapters.state_dict().items()}
        if self.ema:
            found |= {f"ema.{name}": tensor for name, tensor in self.ema.averaged.state_dict().items()}
        found |= {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            found |= {
                f"optimizer.{index}.{slot}": tensor
                for slot, tensor in slots.items()
                if isinstance(tensor, Tensor)
            }
        return found

    def values(self) -> dict[str, Any]:
        return {"progress": asdict(self.progress), "scaler": self.scaler.state_dict()}

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        self.model.load_state_dict(without_prefix(tensors, "model."))
        self.adapters.load_state_dict(without_prefix(tensors, "adapters."))
        if self.ema:
            self.ema.averaged.load_state_dict(without_prefix(tensors, "ema."))
        device = next(self.model.parameters()).device
        self.best_weights = {
            name: tensor.to(device) for name, tensor in without_prefix(tensors, "best.").items()
        }
        self._restore_optimizer(without_prefix(tensors, "optimizer."))
        self.scaler.load_state_dict(values["scaler"])
        self.progress = Progress(**values["progress"])
        self._restore_loss(tensors["losses"].to(device))

    def _restore_loss(self, losses_R: Tensor) -> None:
        """Restore this rank's sum; if the number of ranks has changed, rank 0 takes the whole."""
        if len(losses_R) == ranks.world_size():
            self.loss_sum = losses_R[ranks.rank()].clone()
        elif ranks.rank() == 0:
            self.loss_sum = losses_R.sum()

    def _restore_optimizer(self, slots: dict[str, Tensor]) -> None:
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in slots.items():
            index, slot = name.split(".", 1)
            state.setdefault(int(index), {})[slot] = in_layout_of(parameters[int(index)], tensor)
        self.optimizer.load_state_dict(
            {"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]}
        )


def in_layout_of(parameter: Tensor, tensor: Tensor) -> Tensor:
    """A tensor of a parameter's shape in its strides too: fused optimizers go through memory without them."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor


def without_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
