"""What all tests need of the process that runs them."""

import os
import signal


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, also where a shell started this process in the background, to ignore it.

    And let DVC report nothing to its makers from the repositories that tests make, which have no .dvc/config of ours.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["DVC_NO_ANALYTICS"] = "1"
