"""The final table says what was measured, also that a variant is slower."""

import math
from pathlib import Path

import pytest

from pipeline.errors import ArtifactError
from pipeline.export.session import device_name
from pipeline.prune.profile_report import Chosen, Profile
from pipeline.registry.register import RegisteredVersion
from pipeline.summary import lost_table, summary, table, versions_text
from tests.support.figures_samples import evaluate, evaluated_project, figures
from tests.support.tracked_project import write


def test_the_table_has_a_row_per_variant_and_names_the_device() -> None:
    lines = table(
        {
            "dense": figures("dense", speedup=1.0, speedup64=1.0),
            "pruned": figures("pruned", speedup=1.5, speedup64=0.8, macs=2_000_000),
            "finetuned": figures("finetuned", speedup=0.998, speedup64=2.0, score=0.975),
            "quantized": figures("quantized", ms=0.25, size_bytes=21_000),
        }
    ).splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["dense", "pruned", "finetuned", "quantized"]
    assert lines[2].split() == [
        "dense",
        "0.9800",
        "4.00",
        "M",
        "20.00",
        "k",
        "80.0",
        "kB",
        "1.000",
        "ms",
        "1.00x",
        "32.000",
        "ms",
        "1.00x",
    ]
    assert lines[3].endswith("0.80x (slower)")
    assert lines[4].split()[-4:] == ["1.00x", "32.000", "ms", "2.00x"], (
        "what rounds to 1 is neither faster nor slower"
    )
    assert "21.0 kB" in lines[5]
    assert "on CPU x, 2 threads, onnxruntime 1" in lines[6]


def test_what_each_step_lost_has_a_row_and_names_the_worst_group_and_who_is_slower() -> None:
    made = {variant: figures(variant) for variant in ("dense", "pruned", "finetuned")}
    made["quantized"] = figures(group_change=-0.25, score_change=-0.01, speedup64=0.9)
    lines = lost_table(made).splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["pruned", "finetuned", "quantized", "all"]
    cells = "-1.0 (-6.0 to +4.0) eel -25.0 (-30.0 to -20.0) 99.0 % 2/1 2.00x 0.90x (slower)"
    assert " ".join(lines[4].split()).endswith(cells)


def test_what_is_slower_beyond_doubt_is_said_in_a_line_of_its_own() -> None:
    made = {variant: figures(variant) for variant in ("dense", "pruned", "finetuned")}
    made["quantized"] = figures(speedup=1.4, parent_speedup=0.75, speedup64=0.96)
    lines = lost_table(made).splitlines()
    assert [line for line in lines if " is slower than " in line] == [
        "quantized is slower than finetuned at batch 1: 0.75 (95 %: 0.71 to 0.79) of its speed"
    ]


def test_only_versions_with_an_alias_are_listed() -> None:
    versions = [
        RegisteredVersion(4, "quantized", 0.98, ("candidate", "champion")),
        RegisteredVersion(3, "finetuned", 0.97, ()),
        RegisteredVersion(2, None, math.nan, ("prod",)),
        RegisteredVersion(1, "dense", math.nan, ("dense",)),
    ]
    text = versions_text("tiny", versions)
    assert text.startswith("Registered as models:/tiny (4 versions):")
    assert "version 2  made by another tool  @prod" in text
    assert "version 1  dense      score nan  @dense" in text
    assert "version 4  quantized  score 0.9800  @candidate, @champion" in text
    assert "version 3" not in text


def test_before_register_passed_the_table_is_shown_all_the_same(tmp_path: Path) -> None:
    text = summary(evaluated_project(tmp_path))
    assert "quantized" in text
    assert "Nothing is registered" in text


def profile(runtime: str, batch: int = 64) -> str:
    chosen = Chosen(
        device="CPU x", runtime=runtime, batch=batch, channels={}, macs=0.4, latency=0.4872, trials=[]
    )
    return Profile(round_to=8, roundings=[], chosen=chosen).to_json()


SAME = "2 threads, onnxruntime 1"


@pytest.mark.parametrize(
    ("speedup64", "batch", "said"),
    [
        (2.0, 64, "0.49 of dense's when chosen, 0.50 when compared; both on CPU x, 2 threads, onnxruntime 1"),
        (
            0.8,
            64,
            "0.49 of dense's when chosen, 1.25 when compared (slower); both on CPU x, 2 threads, onnxruntime "
            "1",
        ),
        (
            2.0,
            8,
            "0.49 of dense's when chosen, not compared at this batch; on CPU x, 2 threads, onnxruntime 1",
        ),
    ],
)
def test_what_a_target_of_latency_promised_stands_beside_what_was_measured(
    tmp_path: Path, speedup64: float, batch: int, said: str
) -> None:
    root = evaluated_project(tmp_path)
    evaluate(root, "pruned", seed=1, speedup64=speedup64)
    write(root, "reports/profile.json", profile(SAME, batch))
    assert f"pruned to a latency at batch {batch}: {said}\n" in summary(root)


def test_what_was_chosen_on_something_else_is_not_compared(tmp_path: Path) -> None:
    root = evaluated_project(tmp_path)
    write(root, "reports/profile.json", profile("1 threads, onnxruntime 1"))
    text = summary(root)
    assert (
        "pruned to a latency at batch 64: 0.49 of dense's when chosen, on CPU x, 1 threads, onnxruntime 1;\n"
        in text
    )
    assert "the times above were measured otherwise" in text
    assert "when compared" not in text


def test_what_a_stage_notes_stands_below_the_table(tmp_path: Path) -> None:
    root = evaluated_project(tmp_path)
    write(root, "reports/prune.json", '{"val_top1": 0.9}')
    assert "pruned: " not in summary(root)
    write(root, "reports/prune.json", '{"note": "zeros make nothing faster"}')
    write(root, "reports/quantize.json", '{"note": "99% of the MACs stay float"}')
    assert "\npruned: zeros make nothing faster\nquantized: 99% of the MACs stay float\n" in summary(root)


def test_the_machine_is_named_where_it_is_not_the_one_that_timed(tmp_path: Path) -> None:
    root = evaluated_project(tmp_path)
    assert f"on CPU x, 2 threads, onnxruntime 1 (not this machine, which has {device_name()});\n" in summary(
        root
    )
    latency = root / "reports/dense/latency.json"
    latency.write_text(latency.read_text().replace("CPU x", device_name()))
    assert f"on {device_name()}, 2 threads, onnxruntime 1;\n" in summary(root)


def test_a_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"reports/dense/metrics.json does not exist; run `dvc repro`"):
        summary(tmp_path)
