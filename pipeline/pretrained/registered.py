"""A registered version brought back, to train from its weights or to learn from it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import ArtifactError
from pipeline.models.description.spec import WEIGHTS_NAME
from pipeline.process.leftovers import scratch
from pipeline.tracking.answers import foreign, mlflow_errors
from pipeline.tracking.local import tracking_uri
from pipeline.tracking.store import ENVIRONMENT


@contextmanager
def registered_model(uri: str, root: Path) -> Iterator[Path]:
    """The model folder, during the block, of models:/<name>@<alias> or models:/<name>/<version>.

    Raises ArtifactError if the version holds no torch weights, as an int8 one does not, UnreachableError if
    MLflow does not answer.
    """
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    import mlflow
    from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

    registered: Any = ModelsArtifactRepository  # untyped
    address = tracking_uri(root)
    with scratch(root, "weights") as folder:
        with mlflow_errors(address), _looked_up_at(address):
            if not registered.get_underlying_uri(uri):
                raise foreign(address)  # of "" MLflow would take the current folder for the model
            mlflow.artifacts.download_artifacts(uri, dst_path=str(folder))
        found = sorted(folder.rglob(WEIGHTS_NAME))
        if not found:
            raise ArtifactError(
                f"{uri}: holds no {WEIGHTS_NAME}, because it is int8; take its parent, or @dense"
            )
        yield found[0].parent


@contextmanager
def _looked_up_at(address: str) -> Iterator[None]:
    """Have MLflow look up `models:/` names at an address during the block, also by the environment."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(address)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before or "")
