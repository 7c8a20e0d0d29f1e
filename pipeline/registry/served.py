"""A model as the registry stores it: a folder that MLflow loads, anywhere and without Espalier."""

from importlib.metadata import version as installed
from pathlib import Path

from pipeline.base.records import SEAL_NAME, seal_json
from pipeline.registry.candidates import Export
from pipeline.tasks.serving.protocol import Serving
from pipeline.tasks.serving.serving import MODEL_CODE

PACKAGES = ("numpy", "onnxruntime", "pandas")
"""What the stored code imports, beside MLflow."""


def save_served(folder: Path, export: Export, serving: Serving, card: str, model_id: str) -> None:
    """Write `folder`/model: ONNX file, torch weights, model.json, card, serving code; no path of here."""
    import mlflow
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    shape = export.image_shape
    outputs = Schema([ColSpec(kind, name) for name, kind in serving.columns.items()])
    model = Model(model_uuid=model_id, model_id=model_id)
    mlflow.pyfunc.save_model(
        str(folder / "model"),
        python_model=str(MODEL_CODE),
        artifacts={
            name: path.absolute().as_uri() for name, path in _artifacts(folder, export, serving, card).items()
        },
        signature=ModelSignature(Schema([TensorSpec(np.dtype("uint8"), (-1, *shape))]), outputs),
        input_example=(np.arange(np.prod(shape)) % 256).astype(np.uint8).reshape(1, *shape),
        pip_requirements=[f"{package}=={installed(package)}" for package in PACKAGES],
        mlflow_model=model,
    )
    noted = model.flavors["python_function"]
    noted["model_code_path"] = MODEL_CODE.name  # MLflow notes where each file came from
    for artifact in noted["artifacts"].values():
        artifact["uri"] = artifact["path"]
    model.save(str(folder / "model" / "MLmodel"))


def _artifacts(folder: Path, export: Export, serving: Serving, card: str) -> dict[str, Path]:
    """What lies beside the code, by the name that the code knows it by. The seal is over all that answers are
    made of.
    """
    answering = {"onnx": export.onnx, "spec": export.spec_file, **{path.stem: path for path in serving.code}}
    seal = seal_json({path.name: path for path in answering.values()}, {export.variant: export.spec.digest})
    (folder / SEAL_NAME).write_text(seal, encoding="utf-8")
    (folder / "README.md").write_text(card, encoding="utf-8")
    beside = {"seal": folder / SEAL_NAME, "card": folder / "README.md"}
    return answering | beside | ({"weights": export.weights} if export.weights else {})
