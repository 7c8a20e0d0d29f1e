"""Hosts for the tests of this tier, which are skipped where a machine cannot make them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import namespaces
from tests.cluster.network import Network, remains


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """A switch without hosts. Nothing of it may be left after the test."""
    if reason := namespaces.unsupported():
        pytest.skip(reason)
    with Network(tmp_path) as network:
        yield network
    assert remains(network.marker) == []
