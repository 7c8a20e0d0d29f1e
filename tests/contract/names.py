"""What the names in a Python file stand for: `t.load` after `import torch as t` is torch.load."""

import ast
import builtins
from collections.abc import Iterator


def used(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Everything imported and everything reached from it, called or not, by its full name and where it
    stands.
    """
    meant = _bindings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((each.name, node) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{each.name}", node) for each in node.names)
        elif isinstance(node, ast.expr) and (name := _resolved(node, meant)):
            yield name, node


def _bindings(tree: ast.Module) -> dict[str, str]:
    """Full names by the names of the file: the builtins, what it imports anywhere, and what it assigns of
    these.
    """
    meant = {name: name for name in dir(builtins)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            meant |= {
                each.asname or _first(each.name): each.name if each.asname else _first(each.name)
                for each in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            meant |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and (name := _resolved(node.value, meant)):
            meant |= {target.id: name for target in node.targets if isinstance(target, ast.Name)}
    return meant


def _resolved(node: ast.expr, meant: dict[str, str]) -> str | None:
    """None for what was neither imported nor built in."""
    match node:
        case ast.Name(id=name):
            return meant.get(name)
        case ast.Attribute(value=owner, attr=name):
            return _below(_resolved(owner, meant), name)
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
            loads = _resolved(function, meant) in ("importlib.import_module", "__import__")
            return name if loads else None
        case ast.Call(func=ast.Name(id="getattr"), args=[owner, ast.Constant(value=str(name)), *_]):
            return _below(_resolved(owner, meant), name)
    return None


def _below(owner: str | None, name: str) -> str | None:
    if owner is None or owner == "builtins":
        return owner and name
    return f"{owner}.{name}"


def _first(name: str) -> str:
    return name.partition(".")[0]
