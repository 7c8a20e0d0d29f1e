"""The target in the data that a problem is about."""

from collections.abc import Mapping
from typing import TypeVar

from pipeline.base.params import nearest
from pipeline.data.fields.field import TargetField
from pipeline.errors import ParamsError

FieldT = TypeVar("FieldT", bound=TargetField)


def target_of(targets: Mapping[str, TargetField], name: str, kind: type[FieldT], task: str) -> FieldT:
    """Raises ParamsError if the data have no target of this name, or one of another kind of field."""
    wanted = kind.model_fields["kind"].default
    if name not in targets:
        raise ParamsError(
            f"params.yaml: task: {task} needs a target {name!r} of field {wanted}, but data.targets names no "
            f"such one{nearest(name, list(targets))}"
        )
    field = targets[name]
    if not isinstance(field, kind):
        raise ParamsError(
            f"params.yaml: data.targets.{name} is of field {field.kind}, but task {task} needs {wanted}; "
            "change one of them"
        )
    return field
