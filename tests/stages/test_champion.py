"""The champion of a real registry moves on purpose, each move is recorded, and what the registry lacks is put
back.
"""

import json
from pathlib import Path

import pytest

from pipeline.base.stage import Stage
from pipeline.errors import ArtifactError, EspalierError, GateError
from pipeline.registry.candidates import read_inputs
from pipeline.registry.champion import MOVES, Move, RegisteredModel
from pipeline.registry.promote import promote
from pipeline.registry.register import Registration, register
from pipeline.registry.restore import restore
from pipeline.summary import summary
from pipeline.tracking.store import connect
from tests.support.figures_samples import evaluate, evaluated_project, register_params
from tests.support.tracked_project import empty_database, write

VARIABLES = ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLFLOW_TRACKING_URI", *VARIABLES):
        monkeypatch.delenv(name, raising=False)
    return evaluated_project(tmp_path / "project")


def registered(root: Path) -> Registration:
    """As the stage does it, with its out."""
    stage = Stage("register", root)
    made = register(register_params(), stage, read_inputs(stage))
    write(root, "reports/verdict.json", made.examined.to_json())
    return made


def read(root: Path) -> RegisteredModel:
    found = RegisteredModel.read(connect(root).client, "tiny")
    assert found is not None
    return found


def moves(root: Path) -> list[Move]:
    tags = read(root).tags
    return [Move.model_validate_json(tags[name]) for name in sorted(tags) if name.startswith(MOVES)]


@pytest.mark.parametrize("variable", VARIABLES)
def test_an_experiment_registers_a_candidate_which_a_repro_after_it_judges(
    root: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "puny-puma")
    made = registered(root)
    assert read(root).aliases == {"candidate": 3}
    assert (
        "quantized does not replace the champion: the champion moves by a repro outside an experiment"
        in str(made)
    )
    assert restore(root, judge=True) == [], "nor by a command that it starts"
    monkeypatch.delenv(variable)
    assert registered(root).examined.to_json() == made.examined.to_json(), "where it runs decides no out"
    assert restore(root, judge=True) == []


def test_what_was_applied_is_judged_although_register_is_cached(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(root)
    evaluate(root, "quantized", seed=11, score=0.99)
    monkeypatch.setenv("DVC_EXP_NAME", "puny-puma")
    registered(root)
    monkeypatch.delenv("DVC_EXP_NAME")
    assert read(root).aliases == {"dense": 1, "candidate": 4, "champion": 3}
    assert restore(root, judge=False) == [], "who looks moves nothing"
    assert read(root).champion == 3
    assert restore(root, judge=True) == [
        "quantized (version 4) is the new champion: score 0.9900 against the champion's 0.9800"
    ]
    assert [(move.by, move.before, move.version) for move in moves(root)] == [
        ("repro", None, 3),
        ("repro", 3, 4),
    ]
    assert restore(root, judge=True) == []
    assert len(moves(root)) == 2


def test_each_move_is_recorded_and_shown(root: Path) -> None:
    registered(root)
    said = "version 3, by repro: there was no champion"
    assert ", by repro: there was no champion" in summary(root)
    assert read(root).versions[3].description.endswith(f"UTC: {said}\n")
    assert "# tiny: quantized" in read(root).versions[3].description


def test_another_registry_gets_the_versions_too(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = registered(root)
    empty_database(tmp_path / "other")
    monkeypatch.chdir(tmp_path)  # MLflow puts the artifacts of such a database there
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other/.espalier/mlflow/mlflow.db")
    lines = restore(root, judge=True)
    assert lines[0] == "The registry lacked dense, finetuned, quantized: registered again."
    assert {read(root).with_key(key) for key in made.examined.keys.values()} == {1, 2, 3}
    assert read(root).aliases == {"dense": 1, "candidate": 3, "champion": 3}
    assert restore(root, judge=True) == []
    run = connect(root).client.get_run(read(root).versions[3].run_id)
    assert run.info.status == "FINISHED"


def test_who_looks_puts_versions_back_and_makes_no_champion(root: Path) -> None:
    registered(root)
    client = connect(root).client
    client.delete_registered_model("tiny")
    assert "registered again" in summary(root)
    assert read(root).aliases == {"candidate": 3}


def test_models_that_were_not_judged_are_not_registered_again(root: Path) -> None:
    registered(root)
    connect(root).client.delete_registered_model("tiny")
    evaluate(root, "quantized", seed=11, score=0.99)
    with pytest.raises(
        ArtifactError, match=r"verdict\.json is not of the models, reports and params\.yaml that are here"
    ):
        restore(root, judge=True)
    assert RegisteredModel.read(connect(root).client, "tiny") is None
    assert "Not registered again: reports/verdict.json is not of" in summary(root)


def test_before_register_passed_nothing_is_put_back(root: Path) -> None:
    assert restore(root, judge=True) == []
    write(root, "reports/verdict.json", json.dumps({"model_name": "tiny"}))
    with pytest.raises(ArtifactError, match="candidate: field required"):
        restore(root, judge=True)


def test_a_person_promotes_and_no_repro_undoes_it(root: Path) -> None:
    registered(root)
    evaluate(root, "quantized", seed=11, score=0.99)
    registered(root)
    said = promote(root, "models:/tiny/3", "4 fails in the field")
    assert "before  version 4: quantized, score 0.99, ms 0.25" in said
    assert "now     version 3: quantized, score 0.98, ms 0.25" in said
    assert read(root).champion == 3
    last = moves(root)[-1]
    assert (last.by, last.before, last.version, last.reason) == ("promote", 4, 3, "4 fails in the field")
    stays = (
        "version 3 was promoted when version 4 was there already; `espalier promote models:/tiny/4` moves it"
    )
    assert restore(root, judge=True) == [f"quantized (version 4) does not replace the champion: {stays}"]
    assert registered(root).champion.reason == stays
    evaluate(root, "quantized", seed=12, score=0.99)
    assert registered(root).champion.moves, "twin: of a version that is newer than the promotion"
    promote(root, None, None)
    assert promote(root, "models:/tiny@candidate", None) == "version 5 of tiny is the champion already"


def test_the_candidate_is_promoted_where_none_is_named(root: Path) -> None:
    registered(root)
    evaluate(root, "quantized", seed=11, score=0.975)
    assert not registered(root).champion.moves
    assert "by promote: version 4: quantized" in promote(root, None, None)
    assert read(root).champion == 4
    assert "version 4: quantized, score 0.975" in moves(root)[-1].reason


def test_what_may_not_be_champion_is_refused(root: Path) -> None:
    registered(root)
    connect(root).client.create_model_version("tiny", (root / "exported").as_uri())
    refusals: list[tuple[str, type[EspalierError], str]] = [
        ("models:/tiny/1", GateError, r"version 1 of tiny \(dense\) has not passed the gates"),
        ("models:/tiny/2", GateError, r"`register\.candidate: finetuned` and `make repro`"),
        ("models:/tiny/4", GateError, "was not made by Espalier"),
        ("models:/tiny/9", EspalierError, "has no version 9, only 1, 2, 3, 4"),
        ("models:/tiny@nobody", EspalierError, "has no alias nobody"),
        ("models:/other/1", EspalierError, "no model is registered as other"),
        ("tiny", EspalierError, "'tiny' is no version; write models:/<name>/<version>"),
    ]
    for uri, error, says in refusals:
        with pytest.raises(error, match=says):
            promote(root, uri, None)
    assert read(root).champion == 3
    assert len(moves(root)) == 1


def test_an_alias_that_was_moved_by_hand_stays(root: Path) -> None:
    registered(root)
    evaluate(root, "quantized", seed=11, score=0.975)
    registered(root)
    connect(root).client.set_registered_model_alias("tiny", "champion", "4")
    evaluate(root, "quantized", seed=12, score=0.99)
    decision = registered(root).champion
    assert (
        decision.reason == "version 4 was made champion by hand; `espalier promote models:/tiny/5` moves it"
    )
    assert read(root).champion == 4
