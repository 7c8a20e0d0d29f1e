"""The cut that a pruning plan describes.

Pure structure: no tracing and no pruning library, so a pruned network can be rebuilt from JSON on any
machine.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.base.params import nearest
from pipeline.errors import ArtifactError
from pipeline.models.description.plan import KeptChannels, Plan
from pipeline.models.nets.attention import has_heads


def apply_plan(model: nn.Module, plan: Plan) -> nn.Module:
    """Cut a dense model to its plan, in place: weights, biases, buffers and size attributes.

    Works on Conv2d (grouped and depthwise too), Linear, BatchNorm1d and 2d, LayerNorm over channels, and
    their subclasses, on the heads of attention and on parameters outside any layer. Raises ArtifactError that
    names the module if the plan does not fit the model.
    """
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    for name, kept in plan.items():
        if name in modules:
            _slicer(name, modules[name])(name, modules[name], kept)
        elif name in parameters:
            _slice_parameter(name, model, kept)
        else:
            raise ArtifactError(
                f"pruning plan: the network has no module {name!r}{nearest(name, list(modules))}"
            )
    for name in plan:
        if isinstance(getattr(modules.get(name), "qkv", None), nn.Linear) and not has_heads(modules[name]):
            raise ArtifactError(f"pruning plan: {name!r} keeps other heads than the layers inside it")
    return model


def channel_dim(parameter: Tensor) -> int | None:
    """The dimension that holds channels of a parameter outside any layer, if all others have size 1."""
    wide = [dim for dim, size in enumerate(parameter.shape) if size > 1]
    return wide[0] if len(wide) == 1 else None


def _slicer(name: str, module: nn.Module) -> Callable[[str, Any, KeptChannels], None]:
    if has_heads(module):
        return _slice_heads
    for kind, slicer in _SLICERS.items():
        if isinstance(module, kind):
            return slicer
    kinds = ", ".join(kind.__name__ for kind in _SLICERS)
    raise ArtifactError(f"pruning plan: {name!r} is a {type(module).__name__}, and only {kinds} can be cut")


def _slice_conv(name: str, conv: nn.Conv2d, kept: KeptChannels) -> None:
    """Cut a convolution group by group; weight is (out, in / groups, kernel height, kernel width).

    A group that keeps neither inputs nor outputs goes. The others must keep equal numbers, else there
    is no convolution of that shape.
    """
    out, in_ = _conv_sides(name, conv, kept)
    groups = list(
        zip(
            _by_group(out, conv.out_channels, conv.groups),
            _by_group(in_, conv.in_channels, conv.groups),
            strict=True,
        )
    )
    live = [group for group, (rows, columns) in enumerate(groups) if rows or columns]
    if len({(len(groups[group][0]), len(groups[group][1])) for group in live}) != 1:
        raise ArtifactError(
            f"pruning plan: {name!r} has {conv.groups} groups, which keep unequal numbers of channels"
        )
    group_width = conv.in_channels // conv.groups
    blocks = []
    for group in live:
        rows, columns = groups[group]
        local = [column - group * group_width for column in columns]
        blocks.append(_select(_select(conv.weight, 0, torch.tensor(rows)), 1, torch.tensor(local)))
    conv.weight = _like(conv.weight, torch.cat(blocks))
    if conv.bias is not None:
        conv.bias = _like(conv.bias, _select(conv.bias, 0, torch.tensor(out)))
    conv.in_channels, conv.out_channels, conv.groups = len(in_), len(out), len(live)


def _conv_sides(name: str, conv: nn.Conv2d, kept: KeptChannels) -> tuple[list[int], list[int]]:
    """Kept outputs and inputs; a depthwise convolution has only one side."""
    if conv.groups == conv.in_channels == conv.out_channels:
        channels = _one_side(name, kept, conv.out_channels)
        return channels, channels
    return _indices(name, "out", kept.out, conv.out_channels), _indices(
        name, "in", kept.in_, conv.in_channels
    )


def _slice_linear(name: str, linear: nn.Linear, kept: KeptChannels) -> None:
    out = _indices(name, "out", kept.out, linear.out_features)
    in_ = _indices(name, "in", kept.in_, linear.in_features)
    linear.weight = _like(
        linear.weight, _select(_select(linear.weight, 0, torch.tensor(out)), 1, torch.tensor(in_))
    )
    if linear.bias is not None:
        linear.bias = _like(linear.bias, _select(linear.bias, 0, torch.tensor(out)))
    linear.out_features, linear.in_features = len(out), len(in_)


def _slice_batch_norm(name: str, norm: nn.BatchNorm1d | nn.BatchNorm2d, kept: KeptChannels) -> None:
    channels = torch.tensor(_one_side(name, kept, norm.num_features))
    _slice_vectors(norm, channels)
    for buffer in ("running_mean", "running_var"):
        old = getattr(norm, buffer)
        if old is not None:
            setattr(norm, buffer, _select(old, 0, channels))
    norm.num_features = len(channels)


def _slice_layer_norm(name: str, norm: nn.LayerNorm, kept: KeptChannels) -> None:
    if len(norm.normalized_shape) != 1:
        raise ArtifactError(
            f"pruning plan: {name!r} normalises over {norm.normalized_shape}; only norms over one dimension "
            "can be cut"
        )
    channels = torch.tensor(_one_side(name, kept, norm.normalized_shape[0]))
    _slice_vectors(norm, channels)
    norm.normalized_shape = (len(channels),)


def _slice_heads(name: str, attention: Any, kept: KeptChannels) -> None:
    """Tell an attention how many heads it has; the layers inside it have entries of their own in a plan."""
    attention.num_heads = len(_one_side(name, kept, attention.num_heads))
    attention.attn_dim = attention.num_heads * attention.head_dim


def _slice_parameter(name: str, model: nn.Module, kept: KeptChannels) -> None:
    old = model.get_parameter(name)
    dim = channel_dim(old)
    if dim is None:
        raise ArtifactError(
            f"pruning plan: {name!r} has the shape {tuple(old.shape)}; only one dimension may hold channels"
        )
    owner, _, attribute = name.rpartition(".")
    channels = torch.tensor(_one_side(name, kept, old.shape[dim]))
    setattr(model.get_submodule(owner), attribute, _like(old, _select(old, dim, channels)))


def _slice_vectors(norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm, channels: Tensor) -> None:
    for parameter in ("weight", "bias"):
        old = getattr(norm, parameter)
        if old is not None:
            setattr(norm, parameter, _like(old, _select(old, 0, channels)))


def _indices(name: str, side: str, kept: list[int] | None, size: int) -> list[int]:
    if kept is None:
        return list(range(size))
    if kept[-1] >= size:
        raise ArtifactError(
            f"pruning plan: {name!r} keeps channel {kept[-1]} of side {side!r}, but has only {size}"
        )
    return kept


def _one_side(name: str, kept: KeptChannels, size: int) -> list[int]:
    """Channels of a module whose inputs are its outputs."""
    if kept.out is not None and kept.in_ is not None and kept.out != kept.in_:
        raise ArtifactError(
            f"pruning plan: {name!r} maps each channel to itself, but keeps other inputs than outputs"
        )
    return _indices(name, "out", kept.in_ if kept.out is None else kept.out, size)


def _by_group(indices: list[int], size: int, groups: int) -> list[list[int]]:
    split: list[list[int]] = [[] for _ in range(groups)]
    for index in indices:
        split[index * groups // size].append(index)
    return split


def _select(tensor: Tensor, dim: int, indices: Tensor) -> Tensor:
    return tensor.detach().index_select(dim, indices.to(tensor.device))


def _like(old: Tensor, values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=old.requires_grad)


_SLICERS: dict[type[nn.Module], Callable[[str, Any, KeptChannels], None]] = {
    nn.Conv2d: _slice_conv,
    nn.Linear: _slice_linear,
    nn.BatchNorm1d: _slice_batch_norm,
    nn.BatchNorm2d: _slice_batch_norm,
    nn.LayerNorm: _slice_layer_norm,
}
