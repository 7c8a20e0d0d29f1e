"""The model registry: a candidate that passes becomes, with its ancestors, versions of a registered model.

Every step looks for its own result before it acts, so a registration that was cut off resumes, and the
same models registered again make no second version.
"""

import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.files import locked, to_json
from pipeline.base.stage import STATE_FOLDER, Stage
from pipeline.registry.candidates import PARENTS, CandidateInputs, Export, lineage
from pipeline.registry.card import model_card
from pipeline.registry.champion import RegisteredModel, appoint, is_experiment, number, standing
from pipeline.registry.figures import Figures
from pipeline.registry.gates import Decision, Verdict, judge
from pipeline.registry.params import RegisterParams
from pipeline.registry.served import save_served
from pipeline.registry.versions import Versions
from pipeline.tasks.description.params import notes_of
from pipeline.tasks.serving.protocol import Serving
from pipeline.tasks.serving.serving import make_serving
from pipeline.tracking.answers import mlflow_errors, settled
from pipeline.tracking.local import printed_uri
from pipeline.tracking.records import deciding_params
from pipeline.tracking.runs import obtain_pipeline
from pipeline.tracking.store import ENVIRONMENT, KEY_TAG, Store, connect

UPLOAD_TIMEOUT_S = "120"


@dataclass(frozen=True)
class Examined:
    """A candidate that the gates have judged.

    keys: of the versions that it and its ancestors become, by variant.
    """

    params: RegisterParams
    verdict: Verdict
    keys: dict[str, str]

    def to_json(self) -> str:
        """The out of the stage. No version numbers: they depend on what the registry held before."""
        gates = self.verdict.table()
        return to_json(
            {
                "model_name": self.params.model_name,
                "candidate": self.params.candidate,
                "gates": gates,
                "keys": self.keys,
            }
        )


def examine_candidate(params: RegisterParams, inputs: CandidateInputs) -> Examined:
    """Raises ArtifactError."""
    verdict = judge(params, inputs.figures, {name: export.parity for name, export in inputs.exports.items()})
    return Examined(params, verdict, {name: export.key for name, export in inputs.exports.items()})


@dataclass(frozen=True)
class Registration:
    """What was registered: version numbers by variant, and what became of the champion."""

    examined: Examined
    versions: dict[str, int]
    champion: Decision

    def __str__(self) -> str:
        return f"{self.examined.verdict}\n{self.outcome}"

    @property
    def outcome(self) -> str:
        name, candidate = self.examined.params.model_name, self.examined.params.candidate
        listed = ", ".join(f"{variant} is version {number}" for variant, number in self.versions.items())
        return f"{name}: {listed}\n{candidate} {self.champion}"


def register(
    params: RegisterParams, stage: Stage, inputs: CandidateInputs, *, champion: bool = True
) -> Registration:
    """Judge the candidate, store the variants as versions, move the aliases.

    champion: it may become the champion, if this is no experiment. Raises GateError, and registers nothing,
    if a gate fails; UnreachableError if MLflow does not answer (registering again resumes where this one
    stopped); ArtifactError.
    """
    examined = examine_candidate(params, inputs)
    examined.verdict.demand()
    store = connect(stage.root)
    with (
        locked(lock_path(stage.root), wait_s=math.inf, what="the tracking database"),
        mlflow_errors(store.uri),
        _long_upload_timeout(),
    ):
        registrar = _Registrar(store, params, stage, inputs)
        versions: dict[str, int] = {}
        for name, parent in PARENTS.items():
            versions[name] = registrar.version(inputs.exports[name], versions[parent] if parent else None)
        may_move = champion and not is_experiment()
        decision = settled(store.uri, lambda: registrar.move_aliases(versions, champion=may_move))
    return Registration(examined, versions, decision)


def lock_path(root: Path) -> Path:
    """Who holds it changes the registry from this project."""
    return root.absolute() / STATE_FOLDER / "register.lock"


def figures_of(params: RegisterParams, figures: Figures) -> dict[str, str]:
    """Tags by which versions are compared: score, and a median time at which batch size on what."""
    batch = params.speed_batch
    return {
        "score": repr(figures.quality.score),
        "latency_ms": repr(figures.latency.at(batch).median_ms),
        "measured_on": f"{figures.latency.measured_on}, batch {batch}",
    }


@dataclass(frozen=True)
class RegisteredVersion:
    """variant: None for a version that another tool made. score: NaN if none is noted."""

    version: int
    variant: str | None
    score: float
    aliases: tuple[str, ...]


def registered_versions(root: Path, model_name: str) -> list[RegisteredVersion]:
    """The versions of a registered model, newest first. Raises UnreachableError."""
    store = connect(root)
    with mlflow_errors(store.uri):
        if not store.client.search_registered_models(f"name = '{model_name}'"):
            return []
        aliases = store.client.get_registered_model(model_name).aliases
        found = store.client.search_model_versions(f"name = '{model_name}'")
    versions = [
        RegisteredVersion(
            int(each.version),
            each.tags.get("variant") if KEY_TAG in each.tags else None,
            number(each.tags, "score"),
            tuple(sorted(alias for alias, number in aliases.items() if int(number) == int(each.version))),
        )
        for each in found
    ]
    return sorted(versions, key=lambda each: -each.version)


class _Registrar:
    """The steps of one registration; each finds what an earlier attempt left."""

    def __init__(self, store: Store, params: RegisterParams, stage: Stage, inputs: CandidateInputs) -> None:
        self._store, self._client = store, store.client
        self._params, self._inputs = params, inputs
        self._lineage, self._address = lineage(stage), printed_uri(stage.root)
        run = obtain_pipeline(store, stage.pipeline_key(), deciding_params(stage.root), time.time()).run.id
        self._versions = Versions(store, params.model_name, run)

    def version(self, export: Export, parent: int | None) -> int:
        """The number of the version that holds this export, made now if there is none."""
        card = self._card(export)

        def save(model: str) -> None:
            with tempfile.TemporaryDirectory() as folder:
                save_served(Path(folder), export, self._serving(export), card, model)
                self._client.log_model_artifacts(model, str(Path(folder) / "model"))

        name = f"{self._params.model_name}-{export.variant}"
        return self._versions.obtain(export.key, self._tags(export, parent), card, name, save)

    def move_aliases(self, versions: dict[str, int], *, champion: bool) -> Decision:
        model = RegisteredModel.read(self._client, self._params.model_name)
        assert model is not None, "it has these versions"
        candidate = self._inputs.exports[self._params.candidate]
        judged = standing(versions[candidate.variant], self._tags(candidate, None))
        return appoint(self._client, self._params, model, versions["dense"], judged, champion=champion)

    def _tags(self, export: Export, parent: int | None) -> dict[str, str]:
        figures = self._inputs.figures[export.variant]
        return {
            KEY_TAG: export.key,
            "variant": export.variant,
            "weights": export.spec.digest,
            "data": export.spec.ancestors["data"],
            "parent": "" if parent is None else str(parent),
            **self._lineage,
            "macs": str(figures.quality.macs),
            "size_bytes": str(figures.quality.size_bytes),
            **figures_of(self._params, figures),
        }

    def _serving(self, export: Export) -> Serving:
        return make_serving(notes_of(export.spec.task))

    def _card(self, export: Export) -> str:
        lineage_shown = {
            **self._lineage,
            "data": export.spec.ancestors["data"],
            "weights": export.spec.digest,
        }
        return model_card(
            name=self._params.model_name,
            variant=export.variant,
            shape=export.image_shape,
            outputs=export.spec.outputs,
            serving=self._serving(export),
            figures=self._inputs.figures,
            parity=export.parity,
            lineage=lineage_shown,
            uri=self._address,
        )


@contextmanager
def _long_upload_timeout() -> Iterator[None]:
    """Uploads may take longer than the short answers that tracking waits for, unless the user set a time."""
    name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    before = os.environ[name]
    if before == ENVIRONMENT[name]:
        os.environ[name] = UPLOAD_TIMEOUT_S
    try:
        yield
    finally:
        os.environ[name] = before
