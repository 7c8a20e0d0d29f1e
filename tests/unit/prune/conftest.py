"""Prepared images for the tests of pruning."""

from pathlib import Path

import pytest

from pipeline.data.prepared.reader import Split
from tests.support.compress_samples import (
    prepared_data,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def train(data: Path) -> Split:
    return Split.open(data, "train")
