"""Every head asks its nodes with the settings that tests/cluster tries with real outages."""

import re

import pytest

from infra.local_cluster import HEALTH_CHECKS
from tests.infra.manifests import INFRA

FILES = ("compose.yaml", "kuberay/raycluster.yaml", "ray/aws.yaml", "ray/onprem.yaml")
SETTING = re.compile(r"(RAY_health_check_\w+)(?:: |=|, value: )\"?(\d+)")


@pytest.mark.parametrize("name", FILES)
def test_a_lost_node_is_noticed_as_soon_everywhere(name: str) -> None:
    assert dict(SETTING.findall((INFRA / name).read_text())) == HEALTH_CHECKS


def test_three_checks_outlast_a_cable_that_is_out_for_8_s() -> None:
    """A byte sent at its start is repeated 12.6 s later (0.2 s, doubled each time); the third check starts
    before that.
    """
    period, timeout, threshold = (int(value) for value in HEALTH_CHECKS.values())
    assert (period + timeout) * (threshold - 1) + timeout > 12_600
    assert (period + timeout) * threshold <= 20_000
