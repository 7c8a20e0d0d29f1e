"""Which layers lose most by quantization, and how few must stay in float (Wu et al. 2020, arXiv 2004.09602).

A layer is a module's convolutions and matrix products in the ONNX graph, each with the ReLU or Clip that
follows it alone. Letters: N images, K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from pipeline.export.session import Numbers

PRODUCTS = ("Conv", "Gemm", "MatMul")
ACTIVATIONS = ("Relu", "Clip")
"""What quantization takes into the product before it."""


@dataclass(frozen=True)
class ExportedLayer:
    """module: its name in the torch model. macs: of one image. constant: if all its weights are in the file.

    sides: the tensors that enter and leave it, by ":in" and ":out"; none if the module has several products,
    and no ":out" of a MatMul, whose bias is a node of its own.
    """

    module: str
    operators: frozenset[str]
    nodes: tuple[str, ...]
    macs: int
    constant: bool
    sides: dict[str, str]


@dataclass(frozen=True)
class Effect:
    """noise: squared error of the outputs with this layer alone quantized, over the squared outputs."""

    layer: ExportedLayer
    noise: float


def exported_layers(graph: Any) -> list[ExportedLayer]:
    """The layers of an exported graph, in its order."""
    shapes = _shapes(graph)
    weights = {tensor.name for tensor in graph.initializer}
    by_module: dict[str, list[Any]] = {}
    for node in graph.node:
        if node.op_type in PRODUCTS:
            by_module.setdefault(node.name.partition("/")[0], []).append(node)
    return [
        ExportedLayer(
            module=module,
            operators=frozenset(node.op_type for node in nodes),
            nodes=tuple(part.name for node in nodes for part in (node, *_activation_after(graph, node))),
            macs=sum(_macs(node, shapes) for node in nodes),
            constant=all(node.input[1] in weights for node in nodes),
            sides=_sides(graph, nodes[0]) if len(nodes) == 1 else {},
        )
        for module, nodes in by_module.items()
    ]


def scan(
    layers: Sequence[ExportedLayer], answers: Callable[[Sequence[ExportedLayer]], Numbers], floats_NK: Numbers
) -> list[Effect]:
    """The effect of each layer, the worst first.

    answers: what the network gives with some layers quantized.
    """
    effects = []
    for layer in layers:
        alone_NK = answers([other for other in layers if other is not layer])
        effects.append(
            Effect(layer, float(np.square(alone_NK - floats_NK).sum() / np.square(floats_NK).sum()))
        )
    return sorted(effects, key=lambda effect: -effect.noise)


def fewest(
    worst_first: Sequence[ExportedLayer], holds: Callable[[Sequence[ExportedLayer]], bool]
) -> list[ExportedLayer]:
    """The shortest start of the ranking that, left in float, passes; found by bisection.

    None does not pass, all does.
    """
    fails, passes = 0, len(worst_first)
    while passes - fails > 1:
        middle = (fails + passes) // 2
        if holds(worst_first[:middle]):
            passes = middle
        else:
            fails = middle
    return list(worst_first[:passes])


def _activation_after(graph: Any, node: Any) -> list[Any]:
    readers = [reader for reader in graph.node if node.output[0] in reader.input]
    return [reader for reader in readers if len(readers) == 1 and reader.op_type in ACTIVATIONS]


def _sides(graph: Any, node: Any) -> dict[str, str]:
    last = [node, *_activation_after(graph, node)][-1]
    leaving = {} if node.op_type == "MatMul" else {":out": last.output[0]}
    return {":in": node.input[0], **leaving}


def _macs(node: Any, shapes: dict[str, list[int]]) -> int:
    """Products that are added up per output, times outputs.

    Conv weights are (out, in, ...), other factors (..., in).
    """
    summed = prod(shapes[node.input[1]][1:]) if node.op_type == "Conv" else shapes[node.input[0]][-1]
    return summed * prod(shapes[node.output[0]])


def _shapes(graph: Any) -> dict[str, list[int]]:
    """Shape of every tensor; the batch, whose size is free, counts as one image."""
    values = (*graph.input, *graph.output, *graph.value_info)
    found = {value.name: [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim] for value in values}
    return found | {tensor.name: list(tensor.dims) for tensor in graph.initializer}
