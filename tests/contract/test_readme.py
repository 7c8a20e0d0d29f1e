"""Every command and every path that the documents name exists."""

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli import parser
from tests.support.documents import LEFT_OUT_OF_DOCS, LEFT_OUT_OF_TEST, README, commands
from tests.support.imports import LAYERS

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md"]
DVC_COMMANDS = {"repro", "status", "exp", "metrics", "checkout", "plots"}


def fault(command: str, root: Path = ROOT) -> str | None:
    """What is wrong with a command, or None. It is checked against its own definition, not run."""
    words = [word for word in shlex.split(command, comments=True) if not re.match(r"^[A-Z_]+=", word)]
    program, arguments = words[0], words[1:]
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
        return None if set(arguments) <= targets else f"no such make target: {arguments}"
    if program == "espalier":
        return _espalier_fault(arguments)
    if program == "dvc":
        return _dvc_fault(arguments, root)
    if program == "python":
        return None if (root / arguments[0]).exists() else f"no such file: {arguments[0]}"
    return f"unknown program: {program}"


def _espalier_fault(arguments: list[str]) -> str | None:
    try:
        parser().parse_args(arguments)
    except SystemExit:
        return f"espalier does not take {arguments}"
    return None


def _dvc_fault(arguments: list[str], root: Path) -> str | None:
    if arguments[0] not in DVC_COMMANDS:
        return f"not a dvc command of this project: {arguments[0]}"
    params = yaml.safe_load((root / "params.yaml").read_text())
    for setting in (word for word in arguments if "=" in word):
        values: Any = params
        for key in setting.partition("=")[0].split("."):
            if not isinstance(values, dict) or key not in values:
                return f"no such parameter: {setting}"
            values = values[key]
    return None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_exists(document: str) -> None:
    found = list(commands(ROOT / document))
    assert found
    assert [f"{command}: {why}" for command in found if (why := fault(command))] == []


@pytest.mark.parametrize("document", [*DOCUMENTS, "ARCHITECTURE.md"])
def test_every_path_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"\]\(([^)#:]+)\)", text)) | set(
        re.findall(r"`((?:tests|docs|pipeline|stages)/[\w/.]+\.\w+)", text)
    )
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name)
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    assert [link for link in links(document) if not (document.parent / link).exists()] == []


def test_every_document_is_in_the_contents() -> None:
    contents = ROOT / "docs/README.md"
    listed = {(contents.parent / link).resolve() for link in links(contents)}
    assert sorted({*(ROOT / "docs").rglob("*.md")} - listed - {contents}) == []


def test_tree_of_the_readme_has_every_package() -> None:
    tree = README.read_text(encoding="utf-8").partition("## The tree")[2].split("```")[1]
    packages = {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert packages - set(re.findall(r"(\w+)/", tree)) == set()


def test_architecture_names_files_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)`", text))
    assert len(named) > 20
    assert [
        path for path in sorted(named) if not ((ROOT / path).exists() or (ROOT / "pipeline" / path).exists())
    ] == []


def test_paragraphs_of_architecture_are_short() -> None:
    parts = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("\n\n")
    assert [part for part in parts if not part.startswith(("|", "```")) and len(part.split()) > 80] == []


def test_picture_of_the_layers_agrees_with_the_imports() -> None:
    """Every room that it names exists, and stands in a higher band than those of lower layers."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    picture = text.partition("## The layers")[2].split("```")[1]
    bands: list[list[str]] = []
    for line in picture.splitlines():
        name, *rooms = line.partition("--")[0].replace("|", "").split() or [""]
        if line.startswith(name) and name:
            bands.append(rooms)
        elif name:
            bands[-1] += [name, *rooms]
    assert len(bands) == 5
    for above, below in pairwise(bands):
        assert min(LAYERS[room] for room in above) > max(LAYERS[room] for room in below)


def test_walks_have_at_most_eight_hops() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    walks = text.partition("## Walks")[2].partition("\n## ")[0].split("\n**")[1:]
    hops = [re.findall(r"^\| (\d+) \|", walk, re.MULTILINE) for walk in walks]
    assert len(hops) == 3
    assert all(found == [str(hop) for hop in range(1, len(found) + 1)] for found in hops)
    assert max(map(len, hops)) <= 8


def links(document: Path) -> set[str]:
    """Relative paths that a document links to."""
    return set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "command",
    [
        "make ripro",
        "espalier sumary",
        "espalier ui --prt 1",
        "dvc exp run -S prune.target.mac=0.3",
        "dvc destroy",
        "python infra/none.py",
        "rm x",
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str) -> None:
    assert fault(command) is not None


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in list(commands(ROOT / "README.md"))
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec make test"


def test_what_is_not_run_is_in_readme() -> None:
    """All else there is run, as tests/e2e/test_readme.py and tests/docs take the commands from
    README itself.
    """
    printed = set(commands(README))
    assert set(LEFT_OUT_OF_TEST) <= printed
    assert set(LEFT_OUT_OF_DOCS) <= printed
