"""What all tests need of the process that runs them."""

import os
import shutil
import signal
import tempfile

SITE_CACHE = tempfile.mkdtemp(prefix="espalier-test-dvc-")
"""Where each DVC that tests start keeps its state, instead of in the user's own folder; of this user alone (0700)."""


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, also where a shell started this process in the background, to ignore it.

    And let DVC report nothing to its makers from the repositories that tests make, which have no .dvc/config of ours.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["DVC_NO_ANALYTICS"] = "1"
    os.environ["DVC_SITE_CACHE_DIR"] = SITE_CACHE


def pytest_unconfigure() -> None:
    shutil.rmtree(SITE_CACHE, ignore_errors=True)
