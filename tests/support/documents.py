"""What the documents print: their commands and snippets, and where one is not run as it stands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.support.places import ROOT

README = ROOT / "README.md"


def blocks(document: Path, language: str) -> list[str]:
    """Code blocks of one language, in their order."""
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)


def commands(document: Path) -> Iterator[str]:
    """The lines of every bash block."""
    for block in blocks(document, "bash"):
        yield from (line for line in block.splitlines() if line.strip())


def words(command: str) -> list[str]:
    return shlex.split(command, comments=True)


CLUSTER = "sends to a cluster: tests/cluster"
PHOTOGRAPHS = "needs photographs: tests/real/test_init.py"
TRAINS = "trains for longer than `make test` may take: make test-docs"
LEFT_OUT_OF_TEST = {
    "espalier init data/raw/signs": PHOTOGRAPHS,
    "espalier init data/raw/clothing --weights tf_efficientnet_lite0.safetensors": PHOTOGRAPHS,
    "make test": "runs this very test",
    "dvc exp run -S prune.target.macs=0.3": TRAINS,
    "espalier frontier run --set prune.target.macs=0.7,0.5,0.35,0.25": TRAINS,
    "espalier frontier show --keep 0.995": "shows what the sweep made: make test-docs",
    "espalier submit": CLUSTER,
    "espalier attach": CLUSTER,
    "espalier logs": CLUSTER,
    "espalier stop": CLUSTER,
    "make cluster": "runs until Ctrl-C: tests/e2e/conftest.py starts the same cluster",
}
"""Commands of README that `make test` does not run on a finished small line, and why."""
LEFT_OUT_OF_DOCS = {
    "espalier init data/raw/signs": PHOTOGRAPHS,
    "espalier init data/raw/clothing --weights tf_efficientnet_lite0.safetensors": PHOTOGRAPHS,
    "make test": "runs for ten minutes by itself",
    "espalier submit": CLUSTER,
    "espalier attach": CLUSTER,
    "espalier logs": CLUSTER,
    "espalier stop": CLUSTER,
    "make cluster": "runs until Ctrl-C: tests/e2e/conftest.py starts the same cluster",
}
"""The same of `make test-docs`, which runs README from its first line to its last."""
