"""Variants beside each other: what each lost against its parent and against dense, and how long the files
take.
"""

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.files import sha256_file
from pipeline.base.params import parse_section
from pipeline.base.records import write_seal
from pipeline.compare.compare import Compared, ComparisonOuts, Evaluated, compare
from pipeline.compare.latency import BLOCK_ROUNDS, BLOCKS, Times, speedup
from pipeline.compare.records import STEPS, VARIANTS, Speedup
from pipeline.data.prepared.reader import Split
from pipeline.drawing import draw_images
from pipeline.errors import ArtifactError
from pipeline.evaluate.params import EvaluateParams
from pipeline.export.session import device_name
from tests.support.compress_samples import CLASSES, SIZE, TASK_PARAMS, prepared_data
from tests.support.figures_samples import QUALITY, linear_onnx
from tests.unit.tasks.reports.test_classification_pictures import shown

PARAMS: dict[str, Any] = {
    "batch_size": 16,
    "parity_images": 10,
    "calibration_bins": 5,
    "worst_images": 4,
    "tta": "none",
    "slices": ["brightness"],
    "exports": [],
    "latency": {"batches": [1, 9], "warmup": 1, "repeats": 60, "threads": 1},
}
WRONG: dict[str, dict[int, int]] = {
    "dense": {0: 1, 20: 1},
    "pruned": dict.fromkeys(range(0, 30), 1),
    "finetuned": {0: 1, 3: 1, 7: 1, 10: 1, 20: 1},
    "quantized": {3: 1, 7: 1, 10: 1, 20: 2},
}
"""Rows of the test split that each variant takes for another class, and how many classes after theirs.
Classes come in turn: 0 and 3 are of "left", 7 and 10 of "right", 20 of "top"."""
FIGURES: dict[str, dict[str, Any]] = {
    "dense": {"macs": 400, "params": 800, "size_bytes": 3200},
    "pruned": {"macs": 100, "params": 400, "size_bytes": 1600},
    "finetuned": {"macs": 100, "params": 400, "size_bytes": 1600},
    "quantized": {"macs": 100, "params": 200, "size_bytes": 320},
}
"""Of metrics.json: what each variant differs in from the others."""


@dataclass(frozen=True)
class Found:
    data: Path
    variants: dict[str, Evaluated]
    outs: ComparisonOuts
    compared: Compared


def outs_in(folder: Path) -> ComparisonOuts:
    return ComparisonOuts(
        latency={name: folder / name / "latency.json" for name in VARIANTS},
        lost={name: folder / name / "lost" for name in STEPS},
        seal=folder / "seal.json",
    )


def params(**changes: Any) -> EvaluateParams:
    return parse_section("evaluate", PARAMS | changes, EvaluateParams)


def evaluated(folder: Path, name: str, labels: list[int], data: Path) -> Evaluated:
    made = Evaluated(
        *(folder / name / file for file in ("onnx/model.onnx", "scores.csv", "metrics.json", "seal.json"))
    )
    made.onnx.parent.mkdir(parents=True)
    linear_onnx(made.onnx, seed=0, shape=(3, SIZE, SIZE))
    made.metrics.write_text(json.dumps(QUALITY | FIGURES[name]))
    given = [(label + WRONG[name].get(row, 0)) % len(CLASSES) for row, label in enumerate(labels)]
    rows = [
        f"{row},{float(label == answer)},{CLASSES[answer]},{CLASSES[label]},0.{row + 10}"
        for row, (label, answer) in enumerate(zip(labels, given, strict=True))
    ]
    made.scores.write_text("\n".join(["row,score,answer,truth,confidence", *rows, ""]))
    write_seal(made.onnx.parent, ["model.onnx"], {})
    seal(made, data)
    return made


def seal(made: Evaluated, data: Path) -> None:
    of = {"model.onnx": sha256_file(made.onnx), "manifest.json": sha256_file(data / "manifest.json")}
    write_seal(made.seal.parent, ["scores.csv", "metrics.json"], of)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("compare")
    data = prepared_data(folder / "data")
    labels = Split.open(data, "test").targets["label"].tolist()
    variants = {name: evaluated(folder / "evaluated", name, labels, data) for name in VARIANTS}
    outs = outs_in(folder / "reports")
    return Found(data, variants, outs, compare(variants, data, outs, params(), TASK_PARAMS))


def loaded(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_each_step_is_held_against_its_parent_and_against_dense(found: Found) -> None:
    lost = loaded(found.outs.lost["quantized"] / "lost.json")
    assert lost["parent"] == "finetuned"
    assert {name: (x["lost"], x["gained"], x["swapped"]) for name, x in lost["against"].items()} == {
        "finetuned": (0, 1, 1),
        "dense": (3, 1, 1),
    }
    assert lost["against"]["dense"]["score"]["change"] == pytest.approx(-2 / 60, abs=1e-6)
    assert lost["against"]["dense"]["agreement"] == pytest.approx(55 / 60)
    assert list(loaded(found.outs.lost["pruned"] / "lost.json")["against"]) == ["dense"]


@pytest.mark.parametrize(
    ("name", "other", "macs", "params", "size"),
    [
        ("pruned", "dense", 0.25, 0.5, 0.5),
        ("finetuned", "pruned", 1.0, 1.0, 1.0),
        ("quantized", "finetuned", 1.0, 0.5, 0.2),
        ("quantized", "dense", 0.25, 0.25, 0.1),
    ],
)
def test_costs_are_parts_of_the_others(
    found: Found, name: str, other: str, macs: float, params: float, size: float
) -> None:
    against = loaded(found.outs.lost[name] / "lost.json")["against"][other]
    assert (against["macs_ratio"], against["params_ratio"], against["size_ratio"]) == (macs, params, size)


def test_the_worst_group_is_the_one_that_lost_most_not_the_one_that_is_lowest(found: Found) -> None:
    """The lowest recall fell from 0.95 ("left") to 0.9 ("right"), but "right" lost twice that."""
    worst = loaded(found.outs.lost["quantized"] / "lost.json")["against"]["dense"]["worst_group"]
    assert (worst["name"], worst["images"], worst["before"], worst["now"]) == ("right", 20, 1.0, 0.9)
    assert worst["change"] == pytest.approx(-0.1)
    assert worst["low"] < worst["change"] < worst["high"]


def test_the_table_has_all_images_every_group_and_every_slice(found: Found) -> None:
    with (found.outs.lost["pruned"] / "against_dense.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["of"] for row in rows] == ["all", *["group"] * 3, *["slice"] * 4]
    assert sum(int(row["images"]) for row in rows if row["of"] == "slice") == 60
    assert {row["name"] for row in rows if row["of"] == "group"} == set(CLASSES)
    assert float(rows[0]["change"]) == pytest.approx(-28 / 60, abs=1e-6)


def test_every_comparison_has_a_picture(found: Found) -> None:
    for name, others in (
        ("pruned", ["dense"]),
        ("finetuned", ["dense", "pruned"]),
        ("quantized", ["dense", "finetuned"]),
    ):
        pictures = sorted(found.outs.lost[name].glob("*.png"))
        assert [path.stem for path in pictures] == [f"against_{other}" for other in others]
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


@pytest.mark.parametrize(
    ("other", "title", "rows", "captions"),
    [
        (
            "dense",
            "3 lost, 1 wrong in another way, 1 gained",
            [10, 7, 3, 20],
            [
                "right → top\nis right",
                "right → top\nis right",
                "left → right\nis left",
                "left → right\nis top",
            ],
        ),
        (
            "finetuned",
            "0 lost, 1 wrong in another way, 1 gained",
            [20, 0],
            ["left → right\nis top", "right → left\nis left"],
        ),
    ],
)
def test_a_picture_shows_what_flipped_the_lost_and_the_surest_first(
    found: Found, other: str, title: str, rows: list[int], captions: list[str]
) -> None:
    images_BCHW = Split.open(found.data, "test").images(torch.tensor(rows)).numpy()
    content = (found.outs.lost["quantized"] / f"against_{other}.png").read_bytes()
    for number, image_CHW in enumerate(images_BCHW):
        assert np.array_equal(shown(content, number, SIZE), image_CHW)
    assert content == draw_images(f"quantized against {other}\n{title}", images_BCHW, captions)


def test_every_batch_asked_for_is_timed_on_the_device_that_is_named(found: Found) -> None:
    record = loaded(found.outs.latency["quantized"])
    assert record["device"] == device_name()
    assert record["runtime"].startswith("onnxruntime ")
    assert {size: timing["repeats"] for size, timing in record["batches"].items()} == {"1": 60, "9": 20}
    assert set(record["batches"]["9"]["speedup"]) == {"finetuned", "dense"}
    assert all(0 < timing["median_ms"] <= timing["p95_ms"] for timing in record["batches"].values())
    assert loaded(found.outs.latency["dense"])["batches"]["1"]["speedup"] == {
        "dense": {"ratio": 1.0, "low": 1.0, "high": 1.0}
    }


def blocks(slower: float, generator: np.random.Generator, count: int) -> list[Times]:
    """Made-up times of two files that take turns beside other work, which comes and goes at any pace from
    turns to blocks.

    slower: the second's true time over the first's.
    """
    made = []
    for _ in range(count):
        pace = 10 ** generator.uniform(-2, 1)  # of a block
        sessions = np.exp(generator.normal(0, 0.01, 2)) * [1, slower]
        busy = np.cumsum(generator.normal(0, np.sqrt(1 / (20 * pace)), 80))
        noise = 0.3 * np.abs(np.sin(busy)) + generator.exponential(0.1, 80)
        turns = np.concatenate([generator.permutation(2) for _ in range(BLOCK_ROUNDS)]).repeat(20)
        seconds = sessions[turns] * (1 + noise)
        made.append(
            {
                (name, 1): seconds[turns == number].tolist()
                for number, name in enumerate(("dense", "quantized"))
            }
        )
    return made


def test_equal_files_are_in_the_interval_and_slower_ones_are_not() -> None:
    generator = np.random.default_rng(0)

    def repeated(slower: float, count: int = BLOCKS) -> list[Speedup]:
        return [speedup(blocks(slower, generator, count), "quantized", "dense", 1) for _ in range(300)]

    equal, slow = repeated(1.0), repeated(1 / 0.75)
    assert np.mean([each.low <= 1 <= each.high for each in equal]) >= 0.95
    assert sum(each.at_most < 1 for each in equal) == 0
    assert np.mean([each.at_most < 1 for each in slow]) >= 0.95
    assert np.mean([each.low <= 1 <= each.high for each in repeated(1.0, count=4)]) < 0.95, (
        "twin: of fewer blocks"
    )


def test_again_gives_the_same_bytes_but_for_the_times(found: Found, tmp_path: Path) -> None:
    outs = outs_in(tmp_path)
    compare(found.variants, found.data, outs, params(), TASK_PARAMS)
    for name in STEPS:
        for path in found.outs.lost[name].iterdir():
            assert (outs.lost[name] / path.name).read_bytes() == path.read_bytes()


def test_reported_are_the_changes(found: Found) -> None:
    reported = found.compared.reported()
    assert reported["quantized/against_dense/score_change"] == pytest.approx(-2 / 60, abs=1e-6)
    assert "finetuned/against_pruned/worst_group_change" in reported


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text.replace("1.0,", "high,", 1), "not scores of answers .*'high'"),
        (lambda text: text.replace("truth", "actual", 1), "not scores of answers .*'truth'"),
        (lambda text: text.replace(",left,0.", ",top,0.", 1), "answers to other images than those of"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n", "answers to other images than those of"),
    ],
)
def test_answers_that_do_not_belong_to_the_data_are_refused(
    found: Found, tmp_path: Path, damage: Any, says: str
) -> None:
    folder = tmp_path / "dense"
    shutil.copytree(found.variants["dense"].seal.parent, folder)
    dense = Evaluated(
        *(folder / file for file in ("onnx/model.onnx", "scores.csv", "metrics.json", "seal.json"))
    )
    dense.scores.write_text(damage(dense.scores.read_text()))
    for reason in ("scores.csv: not what .*seal.json sealed.*`dvc repro -f -s evaluate@dense`", says):
        with pytest.raises(ArtifactError, match=reason):
            compare({**found.variants, "dense": dense}, found.data, outs_in(tmp_path), params(), TASK_PARAMS)
        seal(dense, found.data)
    assert not (tmp_path / "pruned").exists()
