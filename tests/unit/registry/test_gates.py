"""Each gate fails alone, with its figure and limit; the champion moves by its rule and no other way."""

import math
import re
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.errors import ArtifactError, GateError
from pipeline.export.parity import Parity
from pipeline.models.description.spec import TensorSpec
from pipeline.registry.card import model_card
from pipeline.registry.gates import Verdict, VersionFigures, decide, judge
from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.serving.serving import make_serving
from tests.support.figures_samples import CLASSES, SHAPE, figures, register_params

EXACT = Parity(against="the torch model", run_by="hand", max_diff=1e-5, agreement=1.0, images=100)
CHAMPION = VersionFigures(version=3, score=0.98, latency_ms=1.0, measured_on="CPU x", data="d")


def verdict(parity: Parity = EXACT, **candidate: Any) -> Verdict:
    made = {"finetuned": figures("finetuned", **candidate)}
    return judge(register_params(candidate="finetuned"), made, {"dense": EXACT, "finetuned": parity})


def test_a_good_candidate_passes_every_gate() -> None:
    made = verdict()
    made.demand()
    assert len(made.gates) == 10
    assert all(row["passed"] for row in made.table().values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": 0.9}, r"FAIL  score +0\.9000  >= 0\.95 +register\.min_score"),
        (
            {"score_change": -0.01},
            r"FAIL  score lost against dense +0\.0100  <= 0\.005 +register\.max_drop  "
            r"\(95 %: -0\.0400 to 0\.0600, 100 images\)",
        ),
        (
            {"group_change": -0.4},
            r"FAIL  score lost by the worst group +0\.4000  <= 0\.02 +register\.max_group_drop  "
            r"\(95 %: 0\.3500 to 0\.4500, 100 images of 'eel'\)",
        ),
        (
            {"agreement": 0.8},
            r"FAIL  agreement with dense +0\.8000  >= 0\.9 +register\.min_agreement_with_dense",
        ),
        (
            {"speedup": 1.2},
            r"FAIL  speed-up at batch 1 +1\.2000  >= 1\.5 +register\.min_speedup  \(95 %: 1\.1400 to 1\.2600",
        ),
        (
            {"parity": EXACT.model_copy(update={"max_diff": 0.2})},
            r"FAIL  finetuned export: difference +0\.2000  <= 0\.001 +register\.max_export_diff",
        ),
        (
            {"parity": EXACT.model_copy(update={"agreement": 0.9})},
            r"FAIL  finetuned export: agreement +0\.9000  >= 0\.99 +register\.min_export_agreement",
        ),
    ],
)
def test_each_gate_fails_with_its_figure_and_limit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GateError, match=message) as error:
        verdict(**changes).demand()
    assert "finetuned fails 1 of 10 gates; nothing was registered" in str(error.value)


def test_the_limit_itself_passes() -> None:
    verdict(score_change=-0.005, group_change=-0.02, agreement=0.9).demand()


def test_the_batch_of_the_speed_up_is_chosen_and_named() -> None:
    made = {"quantized": figures(speedup=4.0, speedup64=0.5)}
    with pytest.raises(
        GateError, match=r"FAIL  speed-up at batch 64 +0\.5000  >= 1\.5 +register\.min_speedup"
    ):
        judge(register_params(speed_batch=64), made, {}).demand()
    with pytest.raises(ArtifactError, match=r"batch size 8 was not timed, only \[1, 64\]"):
        judge(register_params(speed_batch=8), made, {})


def test_int8_slower_than_its_floats_is_refused_however_fast_it_is_against_dense() -> None:
    """Twin: slower by less than the times are sure of."""
    slow, unsure = ({"quantized": figures(speedup=1.9, parent_speedup=ratio)} for ratio in (0.75, 0.96))
    judge(register_params(), unsure, {}).demand()
    with pytest.raises(GateError, match="fails 1 of 6 gates") as error:
        judge(register_params(), slow, {}).demand()
    for said in (
        "speed against finetuned at batch 1",
        "change register.min_parent_speedup",
        "`register.candidate: finetuned`",
    ):
        assert said in str(error.value)
    judge(register_params(min_parent_speedup=0.7), slow, {}).demand()
    params = register_params(candidate="finetuned", min_speedup=0.5)
    with pytest.raises(
        GateError,
        match=r"(?s)FAIL  speed against dense at batch 1.*\(95 %: 0\.8550 to 0\.9450.*round_to: auto",
    ):
        judge(params, {"finetuned": figures("finetuned", speedup=0.9)}, {}).demand()


def test_int8_logits_may_differ_but_decisions_may_not() -> None:
    both = {"quantized": figures(speedup=4.0)}
    rounded = Parity(against="the float export", run_by="hand", max_diff=3.0, agreement=0.995, images=100)
    judge(register_params(), both, {"dense": EXACT, "quantized": rounded}).demand()
    with pytest.raises(GateError, match="quantized export: agreement"):
        judge(register_params(), both, {"quantized": rounded.model_copy(update={"agreement": 0.98})}).demand()


@pytest.mark.parametrize(
    ("candidate", "moves", "reason"),
    [
        ({"score": 0.985}, True, r"score 0\.9850 against the champion's 0\.9800"),
        ({"score": 0.97, "latency_ms": 0.1}, False, r"score 0\.9700 against the champion's 0\.9800"),
        ({"score": 0.979, "latency_ms": 0.5}, True, r"as accurate .* and 2\.00 times as fast"),
        ({"score": 0.981, "latency_ms": 0.99}, False, r"1\.01 times as fast; 1\.05 times is asked for"),
        ({"score": 0.981, "latency_ms": 2.0}, False, r"0\.50 times as fast"),
        ({"latency_ms": 0.1, "measured_on": "CPU y"}, False, r"latency was measured elsewhere \(CPU x\)"),
        ({"score": 0.99, "measured_on": "CPU y"}, True, "score"),
        ({"score": 1.0, "data": "other"}, False, "measured on other data"),
        ({"version": 3, "score": 1.0}, False, "it is the champion already"),
    ],
)
def test_the_champion_rule(candidate: dict[str, Any], moves: bool, reason: str) -> None:
    decision = decide(register_params(), replace(replace(CHAMPION, version=4), **candidate), CHAMPION)
    assert decision.moves is moves
    assert re.search(reason, decision.reason)


@pytest.mark.parametrize(
    ("score", "latency_ms"), [(math.nan, 1.0), (math.inf, 1.0), (0.9, math.nan), (0.9, 0.0)]
)
def test_a_champion_without_figures_stays(score: float, latency_ms: float) -> None:
    champion = replace(CHAMPION, score=score, latency_ms=latency_ms)
    decision = decide(register_params(), replace(CHAMPION, version=4, score=1.0), champion)
    assert not decision.moves
    assert "the champion has no figures to compare" in decision.reason


def test_the_first_candidate_becomes_champion() -> None:
    assert decide(register_params(), CHAMPION, None).moves


def test_equal_models_never_replace_each_other() -> None:
    params = register_params(champion_min_gain=0.0, champion_min_speedup=1.0)
    assert not decide(params, replace(CHAMPION, version=4), CHAMPION).moves


def test_a_task_without_groups_has_no_gate_for_the_worst() -> None:
    made = figures("finetuned")
    assert made.loss
    alone = made.loss.against["dense"].model_copy(update={"worst_group": None})
    loss = made.loss.model_copy(update={"against": {**made.loss.against, "dense": alone}})
    found = judge(
        register_params(candidate="finetuned"), {"finetuned": made.model_copy(update={"loss": loss})}, {}
    )
    assert [gate.key for gate in found.gates][:3] == ["min_score", "max_drop", "min_agreement_with_dense"]


def test_params_are_bounded() -> None:
    with pytest.raises(ValidationError, match="model_name"):
        register_params(model_name="a/b")
    with pytest.raises(ValidationError, match="candidate"):
        register_params(candidate="pruned")


def test_the_card_says_slower_where_it_is_slower() -> None:
    both = {"dense": figures("dense"), "quantized": figures(speedup=0.5, group_change=-0.3)}
    card = model_card(
        name="tiny",
        variant="quantized",
        shape=SHAPE,
        outputs={"logits": TensorSpec(shape=[3], meaning="one for each class")},
        serving=make_serving(ClassificationNotes(classes=CLASSES)),
        figures=both,
        parity=EXACT,
        lineage={"git_commit": "c0ffee"},
        uri=None,
    )
    assert "# MLFLOW_TRACKING_URI names the database" in card
    assert (
        "at batch 1: 1.000 ms on CPU x, 2 threads, onnxruntime 1; slower than dense (0.50 of its speed; 95 "
        "%: 0.47 to 0.53)" in card
    )
    assert (
        "at batch 64: 32.000 ms on CPU x, 2 threads, onnxruntime 1; 3.00 times as fast as dense (95 %: 2.85 "
        "to 3.15)" in card
    )
    assert "the group that lost most, eel: -0.3000 (95 %: -0.3500 to -0.2500, 100 images)" in card
    for text in (
        "tiny: quantized",
        "cat, dog, eel",
        "- git_commit: c0ffee",
        "np.zeros((1, 1, 2, 4), np.uint8)",
        "gives `logits`, float32 (B, 3): one for each class.",
        "4,000,000",
    ):
        assert text in card
