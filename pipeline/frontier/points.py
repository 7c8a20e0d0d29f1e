"""Which points a sweep has: the product of the given values, each checked, and named by what decides it."""

import copy
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.base.files import sha256_json, sha256_tree
from pipeline.base.params import nearest
from pipeline.base.stage import Stage
from pipeline.base.yaml_file import parse_yaml, read_yaml
from pipeline.errors import ParamsError
from pipeline.schema import check_values
from pipeline.tracking.records import ancestors, stage_names

COMPARED_VARIANTS = ("finetuned", "quantized")
DENSE = "reports/dense/metrics.json"
PRUNED = "reports/prune.json"
QUANTIZED = "reports/quantize.json"
MEASURED = (
    *(
        f"reports/{variant}/{what}.json"
        for variant in ("dense", *COMPARED_VARIANTS)
        for what in ("metrics", "latency")
    ),
    PRUNED,
    QUANTIZED,
)
"""Files that are compared. A point runs the stages that make them and all before: not `register`, because
only what was chosen belongs into the registry."""
TRAINED = "artifacts/finetuned"
"""The costly out of a point."""
PREFIX = "frontier-"
NAME_DIGITS = 10


@dataclass(frozen=True)
class SweepPoint:
    """One experiment.

    name: `frontier-` and a digest of all that decides its results, so that equal inputs have one name,
    whatever the commit. overrides: what is asked for, by dotted key. values: params.yaml with it. training:
    digest of what decides its fine-tuned model; points that share it train it once.
    """

    name: str
    overrides: dict[str, Any]
    values: dict[str, Any]
    training: str

    @property
    def label(self) -> str:
        return " ".join(f"{key}={short(value)}" for key, value in self.overrides.items())


class Project:
    """What all points of a project share: its stages, and the files that none of them makes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.values = read_yaml(root / "params.yaml")

    def producers(self, paths: Sequence[str]) -> list[str]:
        """Names of the stages that make these files."""
        return [name for name, stage in self._stages.items() if set(paths) & set(stage.outs)]

    def sections_behind(self, path: str) -> set[str]:
        """Sections of params.yaml on which what is in a file depends."""
        return _sections(self._upstream_of([path]))

    @cached_property
    def fixed(self) -> set[str]:
        """Sections that decide the dense model or how it is measured, against which every point is stated."""
        return self.sections_behind(DENSE)

    @cached_property
    def free(self) -> set[str]:
        return _sections(self._all) - self.fixed

    @cached_property
    def sources(self) -> list[str]:
        """Deps that no stage makes: raw data and code."""
        made = [Path(out) for stage in self._all for out in stage.outs]
        deps = {dep for stage in self._all for dep in stage.deps}
        return sorted(dep for dep in deps if not any(Path(dep).is_relative_to(out) for out in made))

    def point(self, overrides: Mapping[str, Any], values: dict[str, Any]) -> SweepPoint:
        training = {section: values[section] for section in sorted(self._training)}
        deciding = {section: values[section] for section in sorted(self.fixed | self.free)}
        digest = sha256_json({"params": deciding, "files": self._sources})
        return SweepPoint(PREFIX + digest[:NAME_DIGITS], dict(overrides), values, sha256_json(training))

    @cached_property
    def _stages(self) -> dict[str, Stage]:
        return {name: Stage(name, self.root) for name in stage_names(self.root)}

    @cached_property
    def _all(self) -> list[Stage]:
        return self._upstream_of(MEASURED)

    @cached_property
    def _training(self) -> set[str]:
        return self.sections_behind(TRAINED)

    def _upstream_of(self, paths: Sequence[str]) -> list[Stage]:
        """The makers of some files, and every stage before them."""
        ends = [self._stages[name] for name in self.producers(paths)]
        return list(
            {
                stage.name: stage for end in ends for stage in [end, *ancestors(end, self._stages.values())]
            }.values()
        )

    @cached_property
    def _sources(self) -> dict[str, str]:
        return {path: sha256_tree(self.root / path) for path in self.sources}


def parse_settings(settings: Sequence[str]) -> dict[str, list[Any]]:
    """["prune.target.macs=0.5,0.3"] -> {"prune.target.macs": [0.5, 0.3]}.

    Values are YAML; commas within brackets do not part them. Raises ParamsError.
    """
    axes: dict[str, list[Any]] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not (key and equals and text):
            raise ParamsError(f"--set {setting}: write it as section.key=value,value")
        if key in axes:
            raise ParamsError(
                f"--set {key} is given twice; give all its values at once, with commas between them"
            )
        axes[key] = _values(setting, text)
    return axes


def points(project: Project, axes: Mapping[str, Sequence[Any]]) -> list[SweepPoint]:
    """The product of all axes. Raises ParamsError with every problem of every point."""
    _check_axes(project, axes)
    found: dict[str, SweepPoint] = {}
    problems: dict[str, None] = {}
    for chosen in itertools.product(*axes.values()):
        overrides = dict(zip(axes, chosen, strict=True))
        values = _changed(project.values, overrides)
        try:
            check_values(values, "params.yaml")
        except ParamsError as error:
            problems |= dict.fromkeys(str(error).splitlines())
            continue
        point = project.point(overrides, values)
        found.setdefault(point.name, point)
    if problems:
        raise ParamsError("with what --set asks for, params.yaml would be wrong:\n" + "\n".join(problems))
    return list(found.values())


def short(value: Any) -> str:
    """A value as --set takes it, without spaces."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _check_axes(project: Project, axes: Mapping[str, Sequence[Any]]) -> None:
    problems = []
    for key in axes:
        section = key.split(".")[0]
        if section in project.fixed:
            problems.append(
                f"--set {key}: this changes the dense model or how it is measured, against which every point "
                f"is stated; change params.yaml, then sweep again. Free: {', '.join(sorted(project.free))}"
            )
        elif section not in project.free:
            problems.append(
                f"--set {key}: no stage of a point reads {section!r}{nearest(section, sorted(project.free))}"
            )
    if problems:
        raise ParamsError("\n".join(problems))


def _changed(values: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(values)
    for key, value in overrides.items():
        *parents, last = key.split(".")
        place: Any = changed
        for depth, parent in enumerate(parents, start=1):
            place = place.get(parent)
            if not isinstance(place, dict):
                raise ParamsError(
                    f"--set {key}: {'.'.join(parents[:depth])} is {short(place)} and has no keys; set it "
                    "whole"
                )
        place[last] = value
    return changed


def _values(setting: str, text: str) -> list[Any]:
    return list(parse_yaml(f"[{text}]", f"--set {setting}"))


def _sections(stages: Sequence[Stage]) -> set[str]:
    """Sections that the stages read, also those of which a stage declares some keys alone."""
    return {name.partition(".")[0] for stage in stages for name in stage.sections}
