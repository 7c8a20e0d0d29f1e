"""The model card: what a person must know of a registered model before using it. Pure text."""

from collections.abc import Mapping

from pipeline.compare.records import Change, Speedup
from pipeline.export.parity import Parity
from pipeline.models.description.spec import TensorSpec
from pipeline.registry.figures import Figures
from pipeline.tasks.serving.protocol import Serving

USE = """## Use
```python
import mlflow
import numpy as np

{address}
model = mlflow.pyfunc.load_model("models:/{name}@champion")
images = np.zeros((1, {channels}, {height}, {width}), np.uint8)  # yours: (B, C, H, W), pixels as they are
print(model.predict(images))  # a DataFrame: {columns}
```
Without MLflow: `artifacts/model.onnx` runs in any onnxruntime. Its input `pixels` is float32
(B, {channels}, {height}, {width}) with values 0..255 as they are in the image (the graph normalises them); it
gives {outputs}."""


ADDRESS = 'mlflow.set_tracking_uri("{uri}")'
LOCAL = "  # in the folder of the project"
OTHER_DATABASE = "# MLFLOW_TRACKING_URI names the database that this is registered in"


def model_card(
    *,
    name: str,
    variant: str,
    shape: tuple[int, int, int],
    outputs: Mapping[str, TensorSpec],
    serving: Serving,
    figures: Mapping[str, Figures],
    parity: Parity,
    lineage: Mapping[str, str],
    uri: str | None,
) -> str:
    """Markdown of one variant. shape: C, H, W of an image; outputs: of the
    file, by name; figures: at least dense and the variant.

    uri: the registry's address as anyone may read it; None for one that only its users know.
    """
    channels, height, width = shape
    parts = [
        f"# {name}: {variant}",
        serving.purpose(f"images of {height} x {width} pixels, {channels} channel{'s' * (channels > 1)},"),
        _figures(figures["dense"], figures[variant], parity, serving.score),
        "## Lineage\n" + "\n".join(f"- {key}: {value}" for key, value in lineage.items()),
        USE.format(
            name=name,
            channels=channels,
            height=height,
            width=width,
            columns=", ".join(serving.columns),
            outputs="; ".join(_output(each, given) for each, given in outputs.items()),
            address=_address(uri),
        ),
        f"## Limits\n{serving.limits} The score holds for images like those of the test split; it was "
        "measured on no other.",
    ]
    return "\n\n".join(parts) + "\n"


def _output(name: str, given: TensorSpec) -> str:
    shape = ", ".join(map(str, ["B", *given.shape]))
    return f"`{name}`, {given.dtype} ({shape}): {given.meaning}"


def _address(uri: str | None) -> str:
    if uri is None:
        return OTHER_DATABASE
    return ADDRESS.format(uri=uri) + ("" if uri.startswith("http") else LOCAL)


def _figures(dense: Figures, own: Figures, parity: Parity, score: str) -> str:
    return "\n".join(
        [
            "## Figures",
            f"- score ({score}) on the test split: {own.quality.score:.4f} (dense {dense.quality.score:.4f})",
            f"- MACs {own.quality.macs:,}, parameters {own.quality.params:,}, size "
            f"{own.quality.size_bytes:,} bytes",
            *_lost(own),
            *_speed(own),
            f"- ONNX file against {parity.against}: agreement {parity.agreement:.4f} on {parity.images} "
            f"images, largest difference of an output {parity.max_diff:.2g}",
        ]
    )


def _lost(own: Figures) -> list[str]:
    """Nothing of dense."""
    if own.loss is None:
        return []
    found = own.loss.against["dense"]
    worst = found.worst_group
    said = f"- against dense: score {_change(found.score)}; agreement {found.agreement:.4f}"
    return [said + (f"; the group that lost most, {worst.name}: {_change(worst)}" if worst else "")]


def _change(change: Change) -> str:
    return f"{change.change:+.4f} (95 %: {change.low:+.4f} to {change.high:+.4f}, {change.images} images)"


def _speed(own: Figures) -> list[str]:
    lines = []
    for size, timing in own.latency.batches.items():
        paces = ", ".join(_pace(speedup, other) for other, speedup in timing.speedup.items())
        lines.append(
            f"- latency at batch {size}: {timing.median_ms:.3f} ms on {own.latency.measured_on}; {paces}"
        )
    return lines


def _pace(speedup: Speedup, other: str) -> str:
    sure = f"95 %: {speedup.low:.2f} to {speedup.high:.2f}"
    if round(speedup.ratio, 2) >= 1:
        return f"{speedup.ratio:.2f} times as fast as {other} ({sure})"
    return f"slower than {other} ({speedup.ratio:.2f} of its speed; {sure})"
