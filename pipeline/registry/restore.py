"""What a cached `register` did elsewhere or before, done again here: DVC sees its out and not the registry.

An empty registry, or another one at MLFLOW_TRACKING_URI, lacks the versions that reports/verdict.json tells
of; and models of an experiment that was applied were never judged by a repro.
"""

import math
import time
from pathlib import Path

from pipeline.base.files import locked
from pipeline.base.params import parse_section
from pipeline.base.records import JsonFile, read_json
from pipeline.base.stage import Stage
from pipeline.base.yaml_file import read_yaml
from pipeline.errors import ArtifactError
from pipeline.registry.candidates import read_inputs
from pipeline.registry.champion import RegisteredModel, appoint, is_experiment, standing
from pipeline.registry.figures import read_figures
from pipeline.registry.params import RegisterParams
from pipeline.registry.register import examine_candidate, figures_of, lock_path, register
from pipeline.tracking.answers import mlflow_errors, settled
from pipeline.tracking.records import deciding_params
from pipeline.tracking.runs import obtain_pipeline
from pipeline.tracking.store import Store, connect

VERDICT = "reports/verdict.json"


class _Verdict(JsonFile):
    """keys: of the versions, by variant."""

    model_name: str
    candidate: str
    keys: dict[str, str]


def restore(root: Path, *, judge: bool) -> list[str]:
    """Register again what the registry lacks of reports/verdict.json; lines that tell what was done.

    judge: also move the aliases, as a repro of what lies here does. Raises ArtifactError if the outs that are
    here are not those of the verdict, UnreachableError if MLflow does not answer.
    """
    if not (root / VERDICT).exists():
        return []
    verdict = read_json(root / VERDICT, _Verdict)
    params = parse_section("register", read_yaml(root / "params.yaml").get("register"), RegisterParams)
    store = connect(root)
    with mlflow_errors(store.uri):
        model = RegisteredModel.read(store.client, verdict.model_name)
    lacking = [
        variant for variant, key in verdict.keys.items() if model is None or model.with_key(key) is None
    ]
    if lacking:
        return _register(root, params, lacking, judge=judge)
    if not judge or is_experiment():
        return []
    with locked(lock_path(root), wait_s=math.inf, what="the tracking database"), mlflow_errors(store.uri):
        return settled(store.uri, lambda: _judge(root, params, store, verdict))


def _register(root: Path, params: RegisterParams, lacking: list[str], *, judge: bool) -> list[str]:
    stage = Stage("register", root)
    inputs = read_inputs(stage)
    if examine_candidate(params, inputs).to_json() != (root / VERDICT).read_text(encoding="utf-8"):
        raise ArtifactError(
            f"{VERDICT} is not of the models, reports and params.yaml that are here, so that "
            f"{', '.join(lacking)} cannot be registered again; run `dvc repro`"
        )
    made = register(params, stage, inputs, champion=judge)
    now = time.time()  # no stage runs, which would end the run that the versions are of
    obtain_pipeline(connect(root), stage.pipeline_key(), deciding_params(root), now).status("FINISHED", now)
    return [f"The registry lacked {', '.join(lacking)}: registered again.", made.outcome]


def _judge(root: Path, params: RegisterParams, store: Store, verdict: _Verdict) -> list[str]:
    model = RegisteredModel.read(store.client, verdict.model_name)
    number, dense = (
        model.with_key(verdict.keys.get(variant, "")) if model else None
        for variant in (verdict.candidate, "dense")
    )
    if model is None or number is None or dense is None:
        return []  # another client has just deleted it
    tags = {
        **model.versions[number].tags,
        **figures_of(params, read_figures(verdict.candidate, lambda path: root / path)),
    }
    before = model.champion
    decision = appoint(store.client, params, model, dense, standing(number, tags), champion=True)
    if before == number:
        return []
    return [f"{verdict.candidate} (version {number}) {decision}"]


def last_move(root: Path, name: str) -> list[str]:
    """The latest move of the alias, as a line; none if none is recorded. Raises UnreachableError."""
    store = connect(root)
    with mlflow_errors(store.uri):
        model = RegisteredModel.read(store.client, name)
    move = model.last_move if model else None
    return [str(move)] if move else []
