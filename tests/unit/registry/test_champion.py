"""What moves a champion, without a registry: who chose it, and whether this is an experiment."""

from types import SimpleNamespace

import pytest

from pipeline.frontier.points import MEASURED, Project
from pipeline.registry.champion import MOVES, Move, RegisteredModel, decide_champion, is_experiment, standing
from tests.support.figures_samples import register_params
from tests.support.places import ROOT

TAGS = {"score": "0.98", "latency_ms": "1.0", "measured_on": "CPU x", "data": "d"}


def registered(champion: int | None, *moves: Move) -> RegisteredModel:
    """Versions 3, 4 and 5, each a point better than the one before."""
    versions = {
        number: SimpleNamespace(tags={**TAGS, "score": f"0.9{number}", "espalier.key": f"k{number}"})
        for number in (3, 4, 5)
    }
    tags = {f"{MOVES}{number}": move.model_dump_json() for number, move in enumerate(moves)}
    return RegisteredModel("tiny", {} if champion is None else {"champion": champion}, tags, versions)


def move(by: str, version: int, newest: int = 4) -> Move:
    values = {
        "when": "now",
        "by": by,
        "version": version,
        "before": 4,
        "newest": newest,
        "key": f"k{version}",
        "reason": "r",
    }
    return Move.model_validate(values)


@pytest.mark.parametrize(
    ("model", "candidate", "moves"),
    [
        (registered(None), 3, True),
        (registered(3), 4, True),
        (registered(4), 3, False),
        (registered(3, move("repro", 3)), 4, True),
        (registered(3, move("promote", 3)), 4, False),
        (registered(3, move("promote", 3)), 5, True),
        (registered(3, move("promote", 3), move("repro", 4)), 5, False),
        (registered(3, move("repro", 4)), 5, False),
    ],
)
def test_a_repro_moves_it_unless_a_person_chose_knowing_the_candidate(
    model: RegisteredModel, candidate: int, moves: bool
) -> None:
    assert (
        decide_champion(register_params(), model, standing(candidate, model.versions[candidate].tags)).moves
        is moves
    )


def test_tags_of_others_are_no_moves() -> None:
    model = registered(3, move("repro", 3))
    model.tags[f"{MOVES}9"] = "not ours"
    assert model.last_move == move("repro", 3)
    assert str(model.last_move) == "Champion since now: version 3, after version 4, by repro: r"


def test_an_experiment_is_told_by_what_dvc_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_STAGE", "register")
    assert not is_experiment()
    monkeypatch.setenv("DVC_EXP_NAME", "puny-puma")
    assert is_experiment()


def test_a_sweep_registers_nothing() -> None:
    assert "register" not in Project(ROOT).producers(MEASURED)
