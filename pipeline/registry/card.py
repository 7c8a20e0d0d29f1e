"""The model card: what a person must know of a registered model before using it. Pure text."""

from collections.abc import Mapping, Sequence

from pipeline.compare.records import Change, Speedup
from pipeline.errors import listed
from pipeline.registry.figures import Figures, Parity

SHOWN_CLASSES = 20
USE = """## Use
```python
import mlflow
import numpy as np

{address}
model = mlflow.pyfunc.load_model("models:/{name}@champion")
images = np.zeros((1, {channels}, {height}, {width}), np.uint8)  # yours: (B, C, H, W), pixels as they are
print(model.predict(images))  # a DataFrame: label, class_index, probability
```
Without MLflow: `artifacts/model.onnx` runs in any onnxruntime. Its input `pixels` is float32
(B, {channels}, {height}, {width}) with values 0..255 as they are in the image (the graph normalises them),
its output `logits` (B, {classes})."""


ADDRESS = 'mlflow.set_tracking_uri("{uri}")'
LOCAL = "  # in the folder of the project"
OTHER_DATABASE = "# MLFLOW_TRACKING_URI names the database that this is registered in"


def model_card(
    *,
    name: str,
    variant: str,
    shape: tuple[int, int, int],
    classes: Sequence[str],
    figures: Mapping[str, Figures],
    parity: Parity,
    lineage: Mapping[str, str],
    uri: str | None,
) -> str:
    """Markdown of one variant. shape: C, H, W of an image; figures: at least dense and the variant.

    uri: the registry's address as anyone may read it; None for one that only its users know.
    """
    channels, height, width = shape
    parts = [
        f"# {name}: {variant}",
        f"Classifies images of {height} x {width} pixels, {channels} channel{'s' * (channels > 1)}, "
        f"into {len(classes)} classes: {listed(classes, SHOWN_CLASSES)}.",
        _figures(figures["dense"], figures[variant], parity),
        "## Lineage\n" + "\n".join(f"- {key}: {value}" for key, value in lineage.items()),
        USE.format(
            name=name,
            channels=channels,
            height=height,
            width=width,
            classes=len(classes),
            address=_address(uri),
        ),
        "## Limits\nIt gives every image one of the classes above, also an image of something else. "
        "Accuracy holds for images like those of the test split; it was measured on no other.",
    ]
    return "\n\n".join(parts) + "\n"


def _address(uri: str | None) -> str:
    if uri is None:
        return OTHER_DATABASE
    return ADDRESS.format(uri=uri) + ("" if uri.startswith("http") else LOCAL)


def _figures(dense: Figures, own: Figures, parity: Parity) -> str:
    return "\n".join(
        [
            "## Figures",
            f"- top-1 on the test split: {own.quality.top1:.4f} (dense {dense.quality.top1:.4f}); "
            f"recall of the worst class: {own.quality.worst_class_recall:.4f}",
            f"- MACs {own.quality.macs:,}, parameters {own.quality.params:,}, size "
            f"{own.quality.size_bytes:,} bytes",
            *_lost(own),
            *_speed(own),
            f"- ONNX file against {parity.against}: the same top-1 on {parity.agreement:.4f} of "
            f"{parity.images} images, "
            f"largest logit difference {parity.max_diff:.2g}",
        ]
    )


def _lost(own: Figures) -> list[str]:
    """Nothing of dense."""
    if own.loss is None:
        return []
    found = own.loss.against["dense"]
    worst = found.worst_class
    return [
        f"- against dense: top-1 {_change(found.top1)}; the same answer to {found.agreement:.4f} of the "
        "images; "
        f"the class that lost most, {worst.name}: {_change(worst)}"
    ]


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
