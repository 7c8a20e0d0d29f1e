"""What all tests need of the process that runs them."""

import signal


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, also where a shell started this process in the background, to ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
