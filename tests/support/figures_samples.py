"""Hand-made figures, and a project that has been evaluated and waits for `register`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save_model

from pipeline.base.files import sha256_file
from pipeline.base.records import write_seal
from pipeline.compare.records import (
    STEPS,
    VARIANTS,
    Change,
    Comparison,
    Latency,
    Loss,
    NamedChange,
    Quality,
    Speedup,
    Timing,
)
from pipeline.export.parity import Parities, Parity
from pipeline.models.description.spec import Architecture, ModelSpec, Preprocessing, TensorSpec
from pipeline.models.disk.artifact import SPEC_NAME, read_spec, save_onnx
from pipeline.registry.figures import Figures
from pipeline.registry.params import RegisterParams
from tests.support.data_samples import STRETCH
from tests.support.tasks import classification
from tests.support.tracked_project import make_project, write

CLASSES = ["cat", "dog", "eel"]
SHAPE = (1, 2, 4)
QUALITY: dict[str, Any] = {
    "score": 0.98,
    "macs": 4_000_000,
    "params": 20_000,
    "size_bytes": 80_000,
}
SPEEDS = {"dense": 1.0, "pruned": 0.6, "finetuned": 0.5, "quantized": 0.25}
GOOD = {
    "model_name": "tiny",
    "candidate": "quantized",
    "min_score": 0.95,
    "max_drop": 0.005,
    "max_group_drop": 0.02,
    "min_agreement_with_dense": 0.9,
    "speed_batch": 1,
    "min_speedup": 1.5,
    "min_parent_speedup": 1.0,
    "max_export_diff": 0.001,
    "min_export_agreement": 0.99,
    "champion_min_gain": 0.002,
    "champion_min_speedup": 1.05,
}
TASK_PARAMS = classification()
DVC = """
stages:
  prepare:
    cmd: python -m stages.prepare
    params: [data]
    deps: [data/raw]
    outs: [data/prepared]
  register:
    cmd: python -m stages.register
    params: [register]
    deps: [{deps}]
    outs: [reports/verdict.json]
"""


def figures(variant: str = "quantized", **changes: Any) -> Figures:
    """One variant's figures, with some keys of metrics.json changed.

    Beside them: ms and speedup (at batch 1, with an interval of 5 % on each side), speedup64, parent_speedup
    (at batch 1, else as speedup), and, against every other variant, score_change, group_change, agreement.
    """
    quality = {**QUALITY, **{key: value for key, value in changes.items() if key in QUALITY}}
    lost = {key: changes[key] for key in ("score_change", "group_change", "agreement") if key in changes}
    loss = {"dense": comparison(**lost)} | ({STEPS[variant]: comparison(**lost)} if variant in STEPS else {})
    ms, speedup, speedup64 = (
        changes.get(key, value) for key, value in (("ms", 1.0), ("speedup", 2.0), ("speedup64", 3.0))
    )
    step = changes.get("parent_speedup", speedup)
    batches = {1: timing(variant, ms, speedup, step), 64: timing(variant, 32 * ms, speedup64, speedup64)}
    return Figures(
        quality=Quality(**quality),
        latency=Latency(device="CPU x", threads=2, runtime="onnxruntime 1", batches=batches),
        loss=Loss(parent=STEPS[variant], against=loss) if variant in STEPS else None,
    )


def timing(variant: str, ms: float, speedup: float, parent_speedup: float) -> Timing:
    ratios = {"dense": speedup, STEPS.get(variant, "dense"): parent_speedup}
    speedups = {
        other: Speedup(ratio=ratio, low=0.95 * ratio, high=1.05 * ratio) for other, ratio in ratios.items()
    }
    return Timing(median_ms=ms, p95_ms=ms, images_per_s=1e3 / ms, speedup=speedups, repeats=1)


def comparison(score_change: float = 0.0, group_change: float = 0.0, agreement: float = 0.99) -> Comparison:
    return Comparison(
        score=change(score_change),
        agreement=agreement,
        lost=2,
        gained=1,
        swapped=0,
        worst_group=NamedChange(name="eel", **change(group_change).model_dump()),
        worst_slice=None,
        macs_ratio=0.5,
        params_ratio=0.5,
        size_ratio=0.5,
    )


def change(by: float) -> Change:
    return Change(images=100, before=0.9, now=0.9 + by, change=by, low=by - 0.05, high=by + 0.05)


def params_yaml(register: dict[str, Any]) -> str:
    return f"data: {{seed: 1}}\ntask: {TASK_PARAMS.model_dump_json()}\nregister: {json.dumps(register)}\n"


def register_params(**changes: Any) -> RegisterParams:
    return RegisterParams(**{**GOOD, **changes})


def linear_spec(shape: tuple[int, int, int], ancestors: dict[str, str]) -> ModelSpec:
    """What model.json says of linear_onnx(), which stands for a trained network."""
    channels, height, width = shape
    return ModelSpec(
        architecture=Architecture(
            name="mlp",
            width=4,
            dropout=0.0,
            stochastic_depth=0.0,
            num_outputs=len(CLASSES),
            channels=channels,
            image_height=height,
            image_width=width,
        ),
        inputs={"pixels": TensorSpec(shape=[*shape], meaning="pixels 0..255")},
        outputs={"logits": TensorSpec(shape=[len(CLASSES)], meaning="a logit for each class")},
        preprocessing=Preprocessing(
            resize=STRETCH, sixteen_bit="refuse", mean=[0.5] * channels, std=[0.5] * channels
        ),
        task={"name": "classification", "classes": [*CLASSES]},
        plan={},
        ancestors=ancestors,
        provenance={},
    )


def evaluated_project(root: Path, shape: tuple[int, int, int] = SHAPE) -> Path:
    """Every input of `register`; each variant has its own weights."""
    deps = [f"reports/{v}/{name}.json" for v in VARIANTS for name in ("metrics", "latency")]
    deps += (
        [f"reports/{v}/lost" for v in STEPS]
        + [f"reports/{v}/seal.json" for v in VARIANTS]
        + ["reports/seal.json"]
    )
    deps += [f"{folder}/{v}" for folder in ("exported", "artifacts") for v in VARIANTS]
    make_project(root, DVC.replace("{deps}", ", ".join(deps)), params_yaml(GOOD))
    for number, variant in enumerate(VARIANTS):
        evaluate(root, variant, seed=number, shape=shape)
    return root


def evaluate(
    root: Path, variant: str, *, seed: int, shape: tuple[int, int, int] = SHAPE, **changes: Any
) -> None:
    """Write what `evaluate` and the stage before it leave of one variant; another seed is another model."""
    made = figures(variant, **{"ms": SPEEDS[variant], "speedup": 1 / SPEEDS[variant], **changes})
    write(root, f"reports/{variant}/metrics.json", made.quality.model_dump_json())
    write(root, f"reports/{variant}/latency.json", made.latency.model_dump_json())
    if made.loss is not None:
        write(root, f"reports/{variant}/lost/lost.json", made.loss.model_dump_json())
    parity = Parity(
        against="its parent",
        run_by="hand",
        max_diff=0.5 if variant == "quantized" else 1e-5,
        agreement=0.995,
        images=200,
    )
    parities = Parities(files={"model.onnx": parity}).to_json()
    onnx = write(root, f"exported/{variant}/parity.json", parities).with_name("model.onnx")
    linear_onnx(onnx, seed, shape)
    artifact = root / f"artifacts/{variant}"
    parent = (
        {STEPS[variant]: read_spec(root / f"artifacts/{STEPS[variant]}").digest} if variant in STEPS else {}
    )
    save_onnx(artifact, linear_spec(shape, {"data": "d" * 64} | parent), onnx)
    seal(root, variant)


def seal(root: Path, variant: str, data: str = "d" * 64) -> None:
    """Write what `evaluate` and `compare` seal of a variant, as it is now. data: digest of the manifest."""
    exported, reports = root / "exported" / variant, root / "reports"
    write_seal(
        exported,
        ["model.onnx", "parity.json"],
        {SPEC_NAME: sha256_file(root / f"artifacts/{variant}/model.json")},
    )
    of = {"model.onnx": sha256_file(exported / "model.onnx"), "manifest.json": data}
    names = sorted(path.name for path in (reports / variant).glob("[ms]*s.*"))
    write_seal(reports / variant, names, of)
    made = [*reports.glob("*/latency.json"), *reports.glob("*/lost/lost.json")]
    files = {each.parent.name: sha256_file(each) for each in (root / "exported").glob("*/model.onnx")}
    write_seal(reports, sorted(path.relative_to(reports).as_posix() for path in made), files)


def linear_onnx(path: Path, seed: int, shape: tuple[int, int, int] = SHAPE) -> None:
    """pixels (B, C, H, W) of 0..255 -> logits (B, 3), by one random matrix."""
    weights = np.random.default_rng(seed).normal(size=(int(np.prod(shape)), len(CLASSES))).astype(np.float32)
    nodes = [
        helper.make_node("Div", ["pixels", "scale"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(CLASSES)])],
        [
            numpy_helper.from_array(np.array(255, np.float32), "scale"),
            numpy_helper.from_array(weights, "weights"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"espalier.format": "4"})
    checker.check_model(model)
    save_model(model, str(path))
