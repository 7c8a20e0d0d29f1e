"""What `espalier doctor` says of Python and of installed packages."""

from pathlib import Path

import pytest

from pipeline.doctor.finding import CheckResult
from pipeline.doctor.versions import packages, python
from tests.support.doctor_samples import says

VERSIONS = {"ray": "2.60.0", "mlflow": "3.17.2", "pyarrow": "25.0.1", "torch": "2.14.1"}


@pytest.fixture
def pinned(tmp_path: Path) -> Path:
    """A project that needs and pins a few packages."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["ray[train]>=2.54", "torch>=2.11"]\n'
    )
    pins = [f"{name}=={version}" for name, version in VERSIONS.items()]
    (tmp_path / "requirements.txt").write_text(
        "\n".join([*pins, "pywin32==312 ; sys_platform == 'win32'", "mypy==2.4.1"])
    )
    return tmp_path


def test_an_old_python_is_a_problem() -> None:
    assert python().state == "ok"
    says(python((3, 10, 4)), "Python 3.10.4, but 3.11 or later is needed")


def test_pinned_packages_are_fine(pinned: Path) -> None:
    assert packages(pinned, VERSIONS.get) == CheckResult("ok", "4 packages as requirements.txt pins them")
    assert packages(pinned, (VERSIONS | {"torch": "2.14.1+cpu"}).get).state == "ok"


@pytest.mark.parametrize(("name", "old"), [("ray", "2.53.0"), ("mlflow", "3.10.9"), ("pyarrow", "23.0.0")])
def test_a_version_with_security_holes_is_named(pinned: Path, name: str, old: str) -> None:
    says(
        packages(pinned, (VERSIONS | {name: old}).get),
        f"{name} {old} has known security holes",
        "`make setup`",
    )


def test_other_and_missing_packages_are_named(pinned: Path) -> None:
    says(
        packages(pinned, (VERSIONS | {"torch": "2.13.0"}).get),
        "in brackets: torch 2.13.0 (2.14.1); `make setup`",
    )
    without = {name: version for name, version in VERSIONS.items() if name != "torch"}
    says(packages(pinned, without.get), "not installed: torch; `make setup`")


def test_many_differences_are_few_lines(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\ndependencies = []\n")
    (tmp_path / "requirements.txt").write_text("\n".join(f"package{i}==2" for i in range(9)))
    verdict = packages(tmp_path, lambda name: "1" if name.startswith("package") else None)
    says(verdict, "package4 1 (2) and 4 more")
    assert len(verdict.text.splitlines()) == 1
