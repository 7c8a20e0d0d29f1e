"""The champion of a registered model: its alias moves on purpose, and each move is recorded with its reason.

A repro outside an experiment moves it by the rule in gates.py, `espalier promote` (promote.py) because a
person says so. An experiment may be the environment of a stage, which decides no out; so nothing of this
stands in reports/verdict.json.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.registry.gates import Decision, VersionFigures, decide
from pipeline.registry.params import RegisterParams
from pipeline.tracking.store import KEY_TAG

CHAMPION = "champion"
CANDIDATE = "candidate"
GATES_TAG = "gates"
PASSED = "passed"
"""Value of GATES_TAG of a version that was a candidate and passed all gates."""
MOVES = "champion.move "
"""Begins the name of the tag that the registered model gets with each move; the time follows."""
HEADING = "\n## Champion\n"
"""Begins what a version's description says of its latest move, after the card."""
EXPERIMENT_VARIABLES = ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")
"""Variables that `dvc exp run` sets for its stages, in the workspace, with --temp and from its queue."""
NOT_HERE = "the champion moves by a repro outside an experiment, or by `espalier promote`"


class Move(BaseModel):
    """One move of the alias.

    before: the champion until then. newest: the newest version that was there. key: the version's.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    when: str
    by: Literal["repro", "promote"]
    version: int
    before: int | None
    newest: int
    key: str
    reason: str

    def __str__(self) -> str:
        after = f", after version {self.before}" if self.before else ""
        return f"Champion since {self.when}: version {self.version}{after}, by {self.by}: {self.reason}"


@dataclass(frozen=True)
class RegisteredModel:
    """A registered model as the registry has it now. versions: MLflow's, by number."""

    name: str
    aliases: dict[str, int]
    tags: dict[str, str]
    versions: dict[int, Any]

    @classmethod
    def read(cls, client: Any, name: str) -> "RegisteredModel | None":
        """None if there is none of this name."""
        if not client.search_registered_models(f"name = '{name}'"):
            return None
        found = client.get_registered_model(name)
        versions = client.search_model_versions(f"name = '{name}'")
        aliases = {alias: int(number) for alias, number in found.aliases.items()}
        return cls(name, aliases, dict(found.tags), {int(each.version): each for each in versions})

    def with_key(self, key: str) -> int | None:
        """The version that holds this export."""
        return min(
            (number for number, each in self.versions.items() if each.tags.get(KEY_TAG) == key), default=None
        )

    @property
    def champion(self) -> int | None:
        number = self.aliases.get(CHAMPION)
        return number if number in self.versions else None

    @property
    def last_move(self) -> Move | None:
        for name in sorted((name for name in self.tags if name.startswith(MOVES)), reverse=True):
            try:
                return Move.model_validate_json(self.tags[name])
            except ValidationError:
                continue  # somebody else's
        return None


def is_experiment() -> bool:
    return any(os.environ.get(name) for name in EXPERIMENT_VARIABLES)


def standing(version: int, tags: Mapping[str, str]) -> VersionFigures:
    """A version's figures as its tags keep them; one that another tool made has none to compare."""
    return VersionFigures(
        version,
        number(tags, "score"),
        number(tags, "latency_ms"),
        tags.get("measured_on", ""),
        tags.get("data", ""),
    )


def decide_champion(params: RegisterParams, model: RegisteredModel, candidate: VersionFigures) -> Decision:
    """The champion rule, but that a repro leaves alone whom a person chose while this candidate was there."""
    champion = model.champion
    if champion is None or champion == candidate.version:
        return decide(params, candidate, None if champion is None else candidate)
    tags = model.versions[champion].tags
    last, cure = model.last_move, f"`espalier promote models:/{model.name}/{candidate.version}` moves it"
    if last and last.key != tags.get(KEY_TAG, ""):
        return Decision(False, f"version {champion} was made champion by hand; {cure}")
    if last and last.by == "promote" and candidate.version <= last.newest:
        return Decision(
            False,
            f"version {champion} was promoted when version {candidate.version} was there already; {cure}",
        )
    return decide(params, candidate, standing(champion, tags))


def appoint(
    client: Any,
    params: RegisterParams,
    model: RegisteredModel,
    dense: int,
    candidate: VersionFigures,
    *,
    champion: bool,
) -> Decision:
    """Move the aliases to the models of a registration that passed its gates.

    champion: false in an experiment, and if somebody only looks: then @candidate alone moves.
    """
    if model.versions[candidate.version].tags.get(GATES_TAG) != PASSED:
        client.set_model_version_tag(model.name, str(candidate.version), GATES_TAG, PASSED)
    decision = decide_champion(params, model, candidate) if champion else Decision(False, NOT_HERE)
    wanted = {CANDIDATE: candidate.version} | ({"dense": dense} if champion else {})
    for alias, version in wanted.items():
        if model.aliases.get(alias) != version:
            client.set_registered_model_alias(model.name, alias, str(version))
    if decision.moves:
        move(client, model, candidate.version, "repro", decision.reason)
    return decision


def move(
    client: Any, model: RegisteredModel, version: int, by: Literal["repro", "promote"], reason: str
) -> Move:
    """Make a version the champion. The record comes first, so that no kill leaves a move without one."""
    now, found = datetime.now(UTC), model.versions[version]
    record = Move(
        when=f"{now:%Y-%m-%d %H:%M:%S} UTC",
        by=by,
        version=version,
        before=model.champion,
        newest=max(model.versions),
        key=found.tags.get(KEY_TAG, ""),
        reason=reason,
    )
    client.set_registered_model_tag(
        model.name, f"{MOVES}{now:%Y-%m-%d %H.%M.%S.%f}", record.model_dump_json()
    )
    card = (found.description or "").partition(HEADING)[0]
    client.update_model_version(model.name, str(version), f"{card}{HEADING}{record}\n")
    client.set_registered_model_alias(model.name, CHAMPION, str(version))
    return record


def number(tags: Mapping[str, str], name: str) -> float:
    """NaN for a tag that is absent, or edited by hand into no number."""
    try:
        return float(tags.get(name, "nan"))
    except ValueError:
        return math.nan
