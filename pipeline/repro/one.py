"""A process for one step of a repro, as processes hold DVC's locks: `python -m pipeline.repro.one <name>`."""

import argparse
import signal
import sys
from pathlib import Path

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.errors import EspalierError
from pipeline.repro.dag import make


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--pull", action="store_true")
    arguments = parser.parse_args()
    # It is how a step is stopped, and what a shell starts in the background inherits that it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        make(Path(), arguments.name, pull=arguments.pull)
    except EspalierError as error:
        sys.exit(f"ERROR: failed to reproduce '{arguments.name}': {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


if __name__ == "__main__":
    main()
