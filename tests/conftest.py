"""What all tests need of the process that runs them."""

import os
import shutil
import signal
import tempfile

import pipeline.environment  # noqa: F401 - first: nothing that tests import or start reports to its makers

SITE_CACHE = tempfile.mkdtemp(prefix="espalier-test-dvc-")
"""Where each DVC that tests start keeps its state, instead of in the user's own folder; of this user alone (0700)."""


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, also where a shell started this process in the background, to ignore it.

    And let each DVC that tests start keep its state in a folder of theirs.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["DVC_SITE_CACHE_DIR"] = SITE_CACHE


def pytest_unconfigure() -> None:
    shutil.rmtree(SITE_CACHE, ignore_errors=True)
