"""What a benchmark's run leaves in docs/results/."""

import argparse
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, perform
from benchmarks.records import RUN_COLUMNS, Benchmark, Case, Figure, Run, append_cases, table_end
from pipeline.errors import EspalierError

ROOT = Path(__file__).parents[2]
COLUMNS = ("network", "seconds")
PAGE = """# Sleep

## Runs

| date | commit | machine | versions | n | network | seconds |
|---|---|---|---|---|---|---|
| before 0.2.0 | - | a CPU | - | 1 | old | 1.0 |

What follows stays.
"""


def measure(arguments: argparse.Namespace) -> Iterator[Case]:
    for network in ("small", "large"):
        yield {"network": network, "seconds": Figure([3.0, 1.0, 2.5][: arguments.rounds], 1)}


def record(page: Path, *, wanted: bool = True, rounds: int = 3) -> None:
    perform(Benchmark(measure, COLUMNS, ("numpy",)), page, argparse.Namespace(record=wanted, rounds=rounds))


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "sleep.md"
    path.write_text(PAGE)
    return path


def test_a_run_adds_a_row_for_each_case_below_the_older_ones(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(page)
    lines = page.read_text().splitlines()
    assert lines[:7] == PAGE.splitlines()[:7]
    assert [row.split(" | ")[4:] for row in lines[7:9]] == [
        ["3", "small", "2.5 (1.0-3.0) |"],
        ["3", "large", "2.5 (1.0-3.0) |"],
    ]
    date, commit, machine, versions = lines[7].strip("| ").split(" | ")[:4]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", date)
    assert re.fullmatch(r"[0-9a-f]{7,}( dirty)?", commit)
    assert machine.endswith("CPUs")
    assert versions.startswith("numpy ")
    assert lines[9:] == ["", "What follows stays."]
    assert "network small, seconds 2.5 (1.0-3.0)" in capsys.readouterr().out


def test_nothing_is_written_unless_it_is_asked_for(page: Path) -> None:
    record(page, wanted=False)
    assert page.read_text() == PAGE


def test_a_page_without_the_table_is_named_before_anything_is_measured(tmp_path: Path) -> None:
    def never(_arguments: argparse.Namespace) -> Iterator[Case]:
        raise AssertionError("measured")

    with pytest.raises(EspalierError, match=r"none.md has no table .* network .* below `## Runs`"):
        perform(Benchmark(never, COLUMNS, ()), tmp_path / "none.md", argparse.Namespace(record=True))


def test_a_table_with_other_columns_is_left_alone(page: Path) -> None:
    run = Run(date="d", commit="c", machine="m", versions="v")
    with pytest.raises(EspalierError, match="no table"):
        append_cases(page, ("network", "minutes"), run, [{"network": "a", "minutes": Figure([1.0])}])
    assert page.read_text() == PAGE


def test_one_value_has_no_spread() -> None:
    assert str(Figure([1234.5], 0)) == "1,234"
    assert str(Figure([2.0, 1.0, 4.0], 2)) == "2.00 (1.00-4.00)"


def test_a_run_from_a_changed_tree_is_called_dirty_but_recorded_results_do_not_count(tmp_path: Path) -> None:
    results = tmp_path / "docs/results/sleep.md"
    results.parent.mkdir(parents=True)
    for name in ("code.py", str(results.relative_to(tmp_path))):
        (tmp_path / name).write_text("one\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)
    results.write_text("two\n")
    clean = Run.now((), tmp_path).commit
    (tmp_path / "code.py").write_text("two\n")
    assert Run.now((), tmp_path).commit == f"{clean} dirty"
    assert "dirty" not in clean


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_a_page_with_its_columns(name: str) -> None:
    assert table_end(ROOT / f"docs/results/{name}.md", BENCHMARKS[name].columns)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_row_of_a_page_fills_its_columns(name: str) -> None:
    columns = BENCHMARKS[name].columns
    page = ROOT / f"docs/results/{name}.md"
    lines = page.read_text().splitlines()[: table_end(page, columns)]
    rows = [line for line in lines[lines.index("## Runs") :] if line.startswith("| ")]
    assert {row.count(" | ") for row in rows} == {len(RUN_COLUMNS) + len(columns) - 1}


def test_make_bench_runs_every_benchmark_that_needs_no_root() -> None:
    found = re.search(r"^BENCHMARKS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    assert found[1].split() == [name for name, benchmark in BENCHMARKS.items() if not benchmark.needs_root]
