"""A section of params.yaml becomes a frozen model; a wrong key or value becomes one clear error."""

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from pipeline.errors import ParamsError

QUOTE = "'"
LONGEST_SHOWN = 200
"""Characters of a wrong value."""


class Section(BaseModel):
    """Base of every params model: immutable, no type coercion, no unknown keys, every key written out.

    Fields carry a description with their unit, and bounds on both sides; there are no defaults, so that
    params.yaml shows everything that decides a result.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)
    renamed: ClassVar[dict[str, str]] = {}
    """Keys that this section had before, with what each is called now: `a.b` is a key of a section below."""


SectionT = TypeVar("SectionT", bound=BaseModel)
"""A Section, or a pydantic.RootModel of several, one of which the section is."""
Name = Annotated[str, Field(max_length=255)]
"""A column, a module or a network, or a pattern of such names."""


def parse_section(name: str, values: Any, model: type[SectionT], *, file: str = "params.yaml") -> SectionT:
    """Check one section against its model.

    Raises ParamsError that names each wrong key, its value and the cure.
    """
    try:
        return model.model_validate(values if values is not None else {})
    except ValidationError as error:
        problems = [_explain(name, problem, model) for problem in _without_new_names(error, model)]
        raise ParamsError("\n".join(f"{file}: {problem}" for problem in problems)) from error


def nearest(word: str, choices: list[str]) -> str:
    """The words ", did you mean 'x'?" for the choice most like `word`, else a list of all choices."""
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(choices))}"


def _without_new_names(error: ValidationError, model: type[BaseModel]) -> list[Any]:
    """The problems, without the missing keys that are there under the name they had before."""
    found = error.errors()
    places = [_place(model, each["loc"]) for each in found]
    renamed = {
        (*place.keys[:-1], *place.owner.renamed.get(place.keys[-1], "").split("."))
        for each, place in zip(found, places, strict=True)
        if each["type"] == "extra_forbidden" and place.owner
    }
    return [
        each
        for each, place in zip(found, places, strict=True)
        if each["type"] != "missing" or place.keys not in renamed
    ]


def _explain(section: str, problem: Any, model: type[BaseModel]) -> str:
    place = _place(model, problem["loc"])
    key, owner = ".".join([section, *place.keys]), place.owner
    if problem["type"] == "extra_forbidden":
        word = place.keys[-1]
        if owner and word in owner.renamed:
            now = ".".join([section, *place.keys[:-1], owner.renamed[word]])
            return f"key {key!r} is called {now!r} now; rename it"
        return f"unknown key {key!r}{nearest(word, list(owner.model_fields) if owner else [])}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing; add it"
    if problem["type"].startswith("union_tag"):
        return _explain_union(key, problem["ctx"])
    message = problem["msg"][0].lower() + problem["msg"][1:]
    if problem["type"] == "value_error":
        return f"{key}: {message.removeprefix('value error, ')}"
    given = repr(problem["input"])
    return (
        f"{key} is {given if len(given) <= LONGEST_SHOWN else given[:LONGEST_SHOWN] + '...'}, but {message}"
    )


def _explain_union(key: str, context: dict[str, str]) -> str:
    """The key that says which of several sections this is, missing or wrong."""
    key = f"{key}.{context['discriminator'].strip(QUOTE)}"
    if "tag" not in context:
        return f"key {key!r} is missing; add it"
    known = [tag.strip(f" {QUOTE}") for tag in context["expected_tags"].split(",")]
    return f"{key} is {context['tag']!r}{nearest(context['tag'], known)}"


class _Place(NamedTuple):
    """keys: as they stand in the file. owner: the section that holds the last of them, None for a mapping of
    free names.
    """

    keys: tuple[str, ...]
    owner: type[Section] | None


def _place(model: type[BaseModel], location: Iterable[str | int]) -> _Place:
    """Where pydantic found a problem; it also names which of several sections it took, which is no key."""
    keys: list[str] = []
    kind, owner = _kind_of(model), None
    for part in map(str, location):
        if isinstance(kind, dict):  # sections of a union, by tag
            kind = kind.get(part)
            continue
        keys.append(part)
        owner = kind if isinstance(kind, type) and issubclass(kind, Section) else None
        if owner:
            field = owner.model_fields.get(part)
            kind = _kind_of(field.annotation) if field else None
        else:
            kind = kind[0] if isinstance(kind, tuple) else None
    return _Place(tuple(keys), owner)


def _kind_of(annotation: Any) -> Any:
    """What is below a key: a Section, {tag: Section} of a union, (kind of the values,) of a mapping, or None.

    Where a value may also be null, that is left out.
    """
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        return _kind_of(annotation.model_fields["root"].annotation)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) is Annotated:
        return _kind_of(get_args(annotation)[0])
    if get_origin(annotation) is dict:
        return (_kind_of(get_args(annotation)[1]),)
    sections = [each for each in get_args(annotation) if isinstance(each, type) and issubclass(each, Section)]
    if len(sections) > 1:
        return {str(_first_literal(each)): each for each in sections}
    return sections[0] if sections else None


def _first_literal(section: type[Section]) -> Any:
    """The value of the first key, by which a section of a union is told from the others."""
    first = next(iter(section.model_fields.values()))
    return get_args(first.annotation)[0]
