"""What all tests need of the process that runs them."""

import os
import shutil
import signal
import tempfile

import pipeline.process.environment  # noqa: F401 - first: nothing that tests import or start reports to its makers

MAIN = "PYTEST_XDIST_WORKER" not in os.environ
"""Whether this process is no worker of another one, from which it inherits the variables."""


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, also where a shell started this process in the background, to ignore
    it.

    And let each DVC that tests start keep its state in a folder of theirs.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if MAIN:
        os.environ["DVC_SITE_CACHE_DIR"] = tempfile.mkdtemp(prefix="espalier-test-dvc-")


def pytest_unconfigure() -> None:
    if MAIN:
        shutil.rmtree(os.environ["DVC_SITE_CACHE_DIR"], ignore_errors=True)
