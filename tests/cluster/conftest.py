"""Hosts and the whole topology for the tests of this tier, which are skipped where a machine cannot make
them.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts import namespaces, topology
from tests.support.hosts.network import Network, remains
from tests.support.hosts.topology import Topology, running_topology


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """A switch without hosts. Nothing of it may be left after the test."""
    if reason := namespaces.unsupported():
        pytest.skip(reason)
    with Network(tmp_path) as network:
        yield network
    assert remains(network.marker) == []


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    """The whole topology, up for all tests that leave it as it was; a test that kills a host starts one of
    its own.
    """
    if reason := topology.unsupported():
        pytest.skip(reason)
    with running_topology(tmp_path_factory.mktemp("topology")) as installation:
        yield installation
    assert remains(installation.network.marker) == []
