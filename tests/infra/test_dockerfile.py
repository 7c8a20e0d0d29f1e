"""infra/Dockerfile: pinned, not root, nothing secret, and nothing in the context that the images
do not need.
"""

import re
import shlex
from importlib.metadata import requires

import pytest

from pipeline.process.environment import SET
from tests.infra.manifests import INFRA

ROOT = INFRA.parent
TELEMETRY = {name: value for name, value in SET.items() if re.search("TELEMETRY|ANALYTICS|USAGE_STATS", name)}
STAGES = ["base", "mlflow-build", "mlflow", "ray-build", "ray"]


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its arguments, comments and line ends taken out."""
    text = re.sub(r"^#.*\n", "", (INFRA / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def stages() -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for name, rest in instructions():
        if name == "FROM":
            found[rest.split()[-1]] = []
        found[list(found)[-1]].append((name, rest))
    return found


def test_every_base_is_pinned() -> None:
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    outside = [base for base in bases if base not in STAGES]
    assert list(stages()) == STAGES
    assert len(outside) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", outside[0])


@pytest.mark.parametrize("stage", ["mlflow", "ray"])
def test_an_image_is_not_root(stage: str) -> None:
    last, user = [*stages()[stage]][-1]
    assert last == "USER"
    assert user == "1000:1000"  # numbers: Kubernetes checks runAsNonRoot by them


@pytest.mark.parametrize("stage", ["mlflow", "ray"])
def test_an_image_takes_packages_from_a_stage_that_builds(stage: str) -> None:
    copies = [rest for name, rest in stages()[stage] if name in ("COPY", "ADD")]
    assert copies == [f"--from={stage}-build /opt/venv /opt/venv"]
    assert not any("pip" in rest for name, rest in stages()[stage] if name == "RUN")


def test_nothing_secret() -> None:
    for name, rest in instructions():
        assert name in {
            "FROM",
            "ENV",
            "RUN",
            "WORKDIR",
            "COPY",
            "USER",
        }  # ARG too stays in the image's history
        if name == "ENV":
            assert {word.partition("=")[0] for word in shlex.split(rest)} <= {
                "PYTHONUNBUFFERED",
                "PATH",
                *TELEMETRY,
            }


def test_nothing_in_an_image_reports_to_its_makers() -> None:
    given = dict(
        word.split("=", 1) for name, rest in stages()["base"] if name == "ENV" for word in shlex.split(rest)
    )
    assert TELEMETRY.items() <= given.items()
    assert [stages()[name][0] for name in ("mlflow", "ray")] == [
        ("FROM", "base AS mlflow"),
        ("FROM", "base AS ray"),
    ]


def test_every_package_is_pinned() -> None:
    """Both images install under requirements.txt, which has one exact version of each."""
    installs = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    assert all("--no-cache-dir" in rest for rest in installs)
    assert all("/tmp/requirements.txt" in rest for rest in installs)
    pins = [
        line
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert all(re.match(r"[A-Za-z0-9._-]+==[^=\s]+", pin) for pin in pins)
    names = {re.split("==", pin)[0].lower() for pin in pins}
    assert {"mlflow", "psycopg2-binary", "boto3"} <= names
    extra = {
        re.split(r"[\s<>=!~;\[]", line)[0].lower()
        for line in requires("mlflow") or []
        if 'extra == "auth"' in line
    }
    assert extra
    assert extra <= names


def test_the_context_holds_what_is_copied_and_no_more() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    # Everything is left out, then some let in: a new folder of data or secrets stays out.
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == {"requirements.txt"}
    assert all((ROOT / rule[1:]).exists() for rule in rules if rule.startswith("!"))
    sources = {rest.split()[0] for name, rest in instructions() if name == "COPY" and "--from" not in rest}
    assert sources == {"requirements.txt"}
