"""Versions of a registered model and what they are of, each once per key, however many clients register it.

Each client stores a model and makes a version of its own, looks which others there are, and settles: MLflow
numbers versions one after the other, so whoever made the higher number sees the lower one, and the lowest
stands.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.tracking.answers import MISSING, TAKEN, foreign, settled, tolerated
from pipeline.tracking.store import KEY_TAG, Store

STALE_S = 24 * 3600.0
"""Age at which a half-made model counts as a dead client's; a living one may be storing it right now."""


class Versions:
    """The versions of one registered model, as one client makes and settles them."""

    def __init__(self, store: Store, name: str, run: str, stale_s: float = STALE_S) -> None:
        self._stale_s = stale_s
        """run: the id of the run that new versions are of."""
        self._store, self._client, self._name, self._run = store, store.client, name, run
        self._made: set[str] = set()
        settled(store.uri, self._make_registered_model)

    def obtain(
        self, key: str, tags: Mapping[str, str], card: str, name: str, save: Callable[[str], None]
    ) -> int:
        """The number of the version with this key, made now if there is none.

        name: of the stored model. save: stores the files of the model whose id it is given. What killed or
        slower clients left of this key is taken away.
        """
        version = settled(
            self._store.uri, lambda: self._settle(key) or self._make(key, tags, card, name, save)
        )
        settled(self._store.uri, lambda: self._sweep(key, str(version.source)))
        return int(version.version)

    def _make_registered_model(self) -> None:
        if not self._client.search_registered_models(f"name = '{self._name}'"):
            with tolerated(TAKEN):
                self._client.create_registered_model(
                    self._name, description="Variants of one model, registered by Espalier"
                )

    def _make(
        self, key: str, tags: Mapping[str, str], card: str, name: str, save: Callable[[str], None]
    ) -> Any:
        model = self._stored_model(key, dict(tags), name, save)
        # A server resolves models:/<id>; with a database MLflow 3.17 would look the id up at its global
        # address.
        over_http = self._store.uri.startswith("http")
        source = f"models:/{model}" if over_http else self._client.get_logged_model(model).artifact_location
        self._client.create_model_version(
            self._name, source, self._run, dict(tags), description=card, model_id=model
        )
        return self._settle(key)

    def _settle(self, key: str) -> Any:
        """The version of a key that all clients use, None if there is none.

        Others go; their aliases name this one then.
        """
        found = self._client.search_model_versions(f"name = '{self._name}' and tags.`{KEY_TAG}` = '{key}'")
        if not found:
            return None
        first, *others = sorted(found, key=lambda each: int(each.version))
        aliases = self._client.get_registered_model(self._name).aliases if others else {}
        for other in others:
            for alias in [alias for alias, number in aliases.items() if int(number) == int(other.version)]:
                self._client.set_registered_model_alias(self._name, alias, str(first.version))
            with tolerated(MISSING):
                self._client.delete_model_version(self._name, str(other.version))
        return first

    def _stored_model(self, key: str, tags: dict[str, str], name: str, save: Callable[[str], None]) -> str:
        """The id of a complete model with this key, stored now if there is none.

        Half-made ones are somebody else's.
        """
        complete = [str(each.model_id) for each in self._models(key) if str(each.status) == "READY"]
        if complete:
            return min(complete)
        made = self._client.create_logged_model(self._store.experiment_id, name, self._run, tags)
        if not made.artifact_location:
            raise foreign(self._store.uri)
        model = str(made.model_id)
        self._made.add(model)
        save(model)
        self._client.finalize_logged_model(model, "READY")
        return model

    def _sweep(self, key: str, source: str) -> None:
        """Delete models of this key that are not the version's source and that no client may be making."""
        for model in self._models(key):
            is_old = time.time() - model.creation_timestamp / 1000 > self._stale_s
            if str(model.model_id) not in source and (is_old or model.model_id in self._made):
                with tolerated(MISSING):
                    self._client.delete_logged_model(model.model_id)

    def _models(self, key: str) -> Any:
        return self._client.search_logged_models([self._store.experiment_id], f"tags.`{KEY_TAG}` = '{key}'")
