"""Python and the packages: those that the project needs, in the versions that it pins."""

import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from pipeline.doctor.finding import CheckResult, check_result
from pipeline.errors import listed
from pipeline.jobs.start import PYTHON

FLOORS = {"ray": "2.54", "mlflow": "3.11", "pyarrow": "23.0.1"}
"""Older ones have published security holes."""
MOST_PINS = 5
SETUP_REMEDY = "`make setup` installs what requirements.txt pins"
Installed = Callable[[str], str | None]
"""The version of a package, None if it is not installed."""


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def python(running: tuple[int, ...] = tuple(sys.version_info[:3])) -> CheckResult:
    text = f"Python {'.'.join(map(str, running))}"
    oldest = ".".join(map(str, PYTHON))
    return check_result(
        []
        if running >= PYTHON
        else [f"{text}, but {oldest} or later is needed; remove .venv, then `make setup`"],
        text,
    )


def packages(root: Path, version_of: Installed = installed) -> CheckResult:
    """Raises OSError if `root` has no requirements.txt and pyproject.toml."""
    needed = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    pins = list(_requirements((root / "requirements.txt").read_text(encoding="utf-8").splitlines()))
    problems = [
        *_unsafe(version_of),
        *_missing(_requirements(needed), version_of),
        *_different(pins, version_of),
    ]
    return check_result(
        problems,
        f"{sum(version_of(pin.name) is not None for pin in pins)} packages as requirements.txt pins them",
    )


def _requirements(lines: list[str]) -> Iterator[Requirement]:
    """Requirements that apply to this platform."""
    for line in lines:
        text = line.partition("#")[0].strip()
        if text and not text.startswith("-"):
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate():
                yield requirement


def _unsafe(version_of: Installed) -> Iterator[str]:
    for name, floor in FLOORS.items():
        found = version_of(name)
        if found and Version(found) < Version(floor):
            yield f"{name} {found} has known security holes, fixed in {floor} or before; {SETUP_REMEDY}"


def _missing(needed: Iterator[Requirement], version_of: Installed) -> list[str]:
    names = [requirement.name for requirement in needed if version_of(requirement.name) is None]
    return [f"not installed: {listed(names, MOST_PINS)}; {SETUP_REMEDY}"] if names else []


def _different(pins: list[Requirement], version_of: Installed) -> list[str]:
    """Pins that are not installed serve developers or other platforms alone, or are named as missing."""
    found = [(pin, version_of(pin.name)) for pin in pins]
    names = [
        f"{pin.name} {have} ({str(pin.specifier).removeprefix('==')})"
        for pin, have in found
        if have is not None and not pin.specifier.contains(have, prereleases=True)
    ]
    return (
        [f"other versions than requirements.txt has, in brackets: {listed(names, MOST_PINS)}; {SETUP_REMEDY}"]
        if names
        else []
    )
