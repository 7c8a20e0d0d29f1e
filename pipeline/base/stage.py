"""What dvc.yaml declares of one stage, and nothing else: a stage is a pure function of it."""

import re
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.base.files import sha256_json, sha256_tree
from pipeline.base.params import SectionT, nearest, parse_section
from pipeline.base.yaml_file import read_yaml
from pipeline.errors import UndeclaredError

STATE_FOLDER = ".espalier"
"""Git-ignored: run directories (checkpoints, locks) and journals. Never an out of a stage."""
KEY_DIGITS = 16
PREPARED_DATA = "data/prepared"


class Stage:
    """The declared sections, deps and outs of a stage, checked at every access.

    name: as `dvc repro` prints it, for example "train" or "evaluate@dense".
    root: the folder that holds dvc.yaml and params.yaml; paths handed out are below it.
    Raises UndeclaredError for a stage that dvc.yaml does not have.
    """

    def __init__(self, name: str, root: Path = Path()) -> None:
        self.name = name
        self.root = root
        self._params = read_yaml(root / "params.yaml")
        declared = _declaration(name, read_yaml(root / "dvc.yaml"), self._params)
        self.sections: list[str] = declared["params"]
        self.deps: list[str] = declared["deps"]
        self.outs: list[str] = declared["outs"]

    def params(self, section: str, model: type[SectionT]) -> SectionT:
        """One section of params.yaml, or those of its keys that are declared alone (as `prune.target`).

        Raises UndeclaredError, ParamsError.
        """
        declared = [name for name in self.sections if name.partition(".")[0] == section]
        if not declared:
            raise UndeclaredError(
                f"stage {self.name!r} reads section {section!r} of params.yaml, but dvc.yaml declares only "
                f"{self.sections}; add it to the stage's params, or a change of it would not rerun the stage"
            )
        if section in declared:
            return parse_section(section, self._value(section), model)
        return parse_section(section, {name.partition(".")[2]: self._value(name) for name in declared}, model)

    def resources(self, model: type[SectionT]) -> SectionT:
        """The section that says where to run, which no stage declares, because it decides no result."""
        return parse_section("resources", self._params.get("resources"), model)

    def _value(self, name: str) -> Any:
        """Value of a section or, `section.key`, of one key; None if missing, which no check lets pass."""
        section, _, key = name.partition(".")
        values = self._params.get(section)
        return values.get(key) if key and isinstance(values, dict) else values

    def dep(self, path: str) -> Path:
        """A declared input. Raises UndeclaredError, also if the file or folder is missing."""
        if path not in self.deps:
            raise UndeclaredError(
                f"stage {self.name!r} reads {path!r}, which dvc.yaml does not "
                f"declare{nearest(path, self.deps)}"
            )
        if not (self.root / path).exists():
            raise UndeclaredError(
                f"stage {self.name!r} needs {path!r}, which does not exist; run `dvc repro {self.name}`"
            )
        return self.root / path

    def out(self, path: str) -> Path:
        """A declared output. Raises UndeclaredError."""
        if path not in self.outs:
            raise UndeclaredError(
                f"stage {self.name!r} writes {path!r}, which dvc.yaml does not "
                f"declare{nearest(path, self.outs)}"
            )
        return self.root / path

    @cached_property
    def key(self) -> str:
        """Digest of the declared inputs, content of deps and values of params: equal keys, equal results."""
        return sha256_json(
            {
                "stage": self.name,
                "params": {name: self._value(name) for name in self.sections},
                "deps": {path: sha256_tree(self.root / path) for path in self.deps},
            }
        )

    @property
    def run_dir(self) -> Path:
        """Where checkpoints of exactly these inputs live; another key is another folder."""
        return (self.root / STATE_FOLDER / "runs" / f"{self.name}-{self.key[:KEY_DIGITS]}").absolute()

    @property
    def journal(self) -> Path:
        """The stage's journal of metrics and artifacts, kept so that tracking can be re-sent."""
        return (
            self.root / STATE_FOLDER / "journals" / f"{self.name}-{self.key[:KEY_DIGITS]}.jsonl"
        ).absolute()

    def pipeline_key(self) -> str:
        """Digest of params.yaml (without resources), dvc.yaml, prepared data and code: the pipeline's state.

        Raises EspalierError before the prepared data exist.
        """
        return sha256_json(
            {
                "params": {name: values for name, values in self._params.items() if name != "resources"},
                "dvc.yaml": sha256_tree(self.root / "dvc.yaml"),
                "data": sha256_tree(self.root / PREPARED_DATA / "manifest.json"),
                "code": [sha256_tree(self.root / folder) for folder in ("pipeline", "stages")],
            }
        )


def _declaration(name: str, dvc: dict[str, Any], params: dict[str, Any]) -> dict[str, list[str]]:
    """Params, deps and outs of a stage (with metrics and plots), with ${...} filled in as DVC does."""
    base, _, item = name.partition("@")
    stages = dvc.get("stages", {})
    if base not in stages:
        raise UndeclaredError(f"dvc.yaml has no stage {base!r}{nearest(base, list(stages))}")
    stage, values = stages[base], dict(params)
    if item:
        if item not in stage["foreach"]:
            raise UndeclaredError(
                f"stage {base!r} has no item {item!r}{nearest(item, list(stage['foreach']))}"
            )
        values |= {"key": item, "item": stage["foreach"][item]}
        stage = stage["do"]

    def entries(*kinds: str) -> list[str]:
        found = [entry for kind in kinds for entry in stage.get(kind, [])]
        return [_fill(next(iter(entry)) if isinstance(entry, dict) else entry, values) for entry in found]

    return {"params": entries("params"), "deps": entries("deps"), "outs": entries("outs", "metrics", "plots")}


def _fill(text: str, values: dict[str, Any]) -> str:
    def lookup(match: re.Match[str]) -> str:
        value: Any = values
        for part in match[1].split("."):
            if not isinstance(value, dict) or part not in value:
                raise UndeclaredError(f"dvc.yaml: {match[0]} has no value in params.yaml")
            value = value[part]
        return str(value)

    return re.sub(r"\$\{([^}]+)\}", lookup, text)
