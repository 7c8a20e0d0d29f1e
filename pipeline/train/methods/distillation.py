"""Distillation of what lies inside a network: of its maps, or of where it looks. Letters: B batch, C
channels, H, W, K classes.

features   squared difference of maps, the student's through a 1x1 convolution if it has other channels
           (FitNets: Romero et al. 2015, arXiv 1412.6550)
attention  squared difference of normalised maps of energy, the mean of squares over channels
           (Zagoruyko & Komodakis 2017, arXiv 1612.03928)
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.base.params import nearest
from pipeline.errors import EspalierError, TrainingError
from pipeline.models.description.spec import Preprocessing
from pipeline.models.nets.probe import not_taken
from pipeline.train.params import FeatureParams
from pipeline.train.ranks import may_pass


class Tapped(nn.Module):
    """A network that gives beside the numbers of its last layer (B,K) what some of its modules put out, each
    through an adapter.

    The adapters are trained with the network, and are no part of it.
    """

    def __init__(
        self, model: nn.Module, names: Iterable[str] = (), adapters: Iterable[nn.Module] = ()
    ) -> None:
        super().__init__()
        self.model = model
        self.adapters = nn.ModuleList(adapters)
        self._maps: dict[str, Tensor] = {}
        self._names = list(names)
        for name in self._names:
            model.get_submodule(name).register_forward_hook(partial(self._take, name))

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Raises TrainingError if the network cannot compute these images, on whatever machine."""
        try:
            numbers_BK: Tensor = self.model(images)
        except Exception as error:  # a network of another library can fail in any way
            if isinstance(error, EspalierError) or may_pass(error):
                raise
            raise not_taken(self.model, images, error) from error
        maps = [adapter(self._maps[name]) for name, adapter in zip(self._names, self.adapters, strict=True)]
        self._maps.clear()
        return numbers_BK, maps

    def _take(self, name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        self._maps[name] = output


class Adapter(nn.Linear):
    """A 1x1 convolution whose weight is a matrix: muon fixes a convolution's norm, which must not be here."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(maps, self.weight[:, :, None, None])


class Renormalised(nn.Module):
    """A network of other data, which takes images as this run normalises them."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, own: Preprocessing, other: Preprocessing) -> None:
        super().__init__()
        self.model = model
        mean, std, other_mean, other_std = (
            torch.tensor(values)[:, None, None] for values in (own.mean, own.std, other.mean, other.std)
        )
        self.register_buffer("scale", std / other_std)
        self.register_buffer("shift", (mean - other_mean) / other_std)

    def forward(self, images: Tensor) -> Any:
        return self.model(images * self.scale + self.shift)


def tap(
    student: nn.Module, teacher: nn.Module, params: FeatureParams, example: Tensor
) -> tuple[Tapped, Tapped]:
    """Both networks with the taps that `params` ask for.

    Raises TrainingError for an unknown module, maps that cannot be compared, and networks whose stages are
    not known.
    """
    layers = params.layers if params.layers is not None else _stage_ends(student, teacher, example)
    own = _outputs(student, list(layers), "student", example)
    taught = _outputs(teacher, list(dict.fromkeys(layers.values())), "teacher", example)
    adapters = []
    for name, other in layers.items():
        _check_comparable(name, own[name], other, taught[other])
        sizes = own[name].shape[1], taught[other].shape[1]
        adapts = params.kind == "features" and sizes[0] != sizes[1]
        adapters.append(Adapter(*sizes) if adapts else nn.Identity())
    return Tapped(student, layers, adapters), Tapped(
        teacher, layers.values(), (nn.Identity() for _ in layers)
    )


def transfer(maps: Sequence[Tensor], teacher_maps: Sequence[Tensor], params: FeatureParams) -> Tensor:
    """The losses (B) of all pairs of maps, without their weight."""
    pairs = [(own.float(), other.float()) for own, other in zip(maps, teacher_maps, strict=True)]
    if params.kind == "attention":
        pairs = [(_energy(own), _energy(other)) for own, other in pairs]
    return torch.stack([(own - other).square().flatten(1).mean(1) for own, other in pairs]).sum(0)


def _energy(maps: Tensor) -> Tensor:
    """Energy of maps, of unit norm, (B, H * W)."""
    return F.normalize(maps.square().mean(1).flatten(1), dim=1)


def _stage_ends(student: nn.Module, teacher: nn.Module, example: Tensor) -> dict[str, str]:
    """Last stage of each size of maps that both have."""
    ends = []
    for model, whose in ((student, "student"), (teacher, "teacher")):
        stages = getattr(model, "stages", None)
        names = (
            [f"stages.{index}" for index in range(len(stages))] if isinstance(stages, nn.Sequential) else []
        )
        outputs = _outputs(model, names, whose, example)
        ends.append({tuple(found.shape[2:]): name for name, found in outputs.items() if found.ndim == 4})
    shared = {name: ends[1][size] for size, name in ends[0].items() if size in ends[1]}
    if not shared:
        raise TrainingError(
            "distil.features.layers is null, but student and teacher have no `stages` with maps of one size; "
            "name pairs of modules, as in {the student's: the teacher's}"
        )
    return shared


def _outputs(model: nn.Module, names: Sequence[str], whose: str, example: Tensor) -> dict[str, Tensor]:
    """What modules put out for an example, in eval mode."""
    modules = dict(model.named_modules())
    for name in names:
        if not name or name not in modules:
            known = [module for module in modules if module]
            raise TrainingError(
                f"distil.features.layers: the {whose} has no module {name!r}{nearest(name, known)}"
            )
    found: dict[str, Tensor] = {}
    hooks = [modules[name].register_forward_hook(partial(_note, found, name)) for name in names]
    with torch.no_grad():
        model.eval()(example)
    for hook in hooks:
        hook.remove()
    return found


def _note(found: dict[str, Tensor], name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
    found[name] = output


def _check_comparable(name: str, own: Tensor, other_name: str, other: Tensor) -> None:
    if own.ndim != 4 or own.shape[2:] != other.shape[2:]:
        raise TrainingError(
            f"distil.features.layers: the student's {name!r} gives {_shape(own)} for an image and the "
            f"teacher's {other_name!r} {_shape(other)}; both must give C x H x W maps of the same H and W"
        )


def _shape(output: Tensor) -> str:
    return " x ".join(map(str, output.shape[1:]))
