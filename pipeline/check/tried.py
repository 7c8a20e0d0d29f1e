"""The process in which params files are tried: `python -m pipeline.check.tried <root> here|elsewhere`."""

import json
import sys
import tempfile
from pathlib import Path

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.check.trials import Trials


def main(root: Path, *, here: bool) -> None:
    """Read params files as JSON from stdin; the last line on stdout has the problems of each."""
    found = []
    for values in json.load(sys.stdin):
        with tempfile.TemporaryDirectory(prefix="espalier-check-") as scratch:
            found.append(list(dict.fromkeys(Trials(root, values, Path(scratch), here=here).problems())))
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), here=sys.argv[2] == "here")
