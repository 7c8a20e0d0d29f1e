"""Clones that register the same models at the same moment, in one database: everything is there once.

Four of them, again and again, in tests/chaos, and on a server in tests/cluster.
"""

from pathlib import Path

from tests.support.registering import register_at_once


def test_two_clones_leave_each_version_and_run_once(tmp_path: Path) -> None:
    register_at_once(tmp_path, rounds=1, number=2)
