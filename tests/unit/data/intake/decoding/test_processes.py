"""Pieces decoded by processes: what ends one of them is left out, and whole pieces are not done twice."""

import signal
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.intake.decoding.guard import READING
from pipeline.data.intake.decoding.piece_file import is_whole, read_rows
from pipeline.data.intake.decoding.processes import Work, blame
from pipeline.data.intake.ingest import Ingested, ingest
from pipeline.data.intake.limits import IntakeLimits
from pipeline.errors import DataError
from tests.support.data_samples import data_params
from tests.support.hostile_pieces import FILL, HANG, order, source_of

GOOD = (b"ab", b"cd", b"ef")


def limits(max_quarantined: float) -> IntakeLimits:
    return data_params(max_quarantined=max_quarantined).limits


def reasons(found: Ingested) -> list[tuple[str, int, str]]:
    return [(row["file"], row["row"], row["reason"]) for row in found.bad.to_pylist()]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_item_ends_its_process_and_not_the_run(tmp_path: Path) -> None:
    source = source_of((*GOOD, HANG, b"gh"), (FILL, b"ij"), GOOD)
    found = ingest(source, order(), tmp_path, 1, limits(1.0))
    assert reasons(found) == [("piece0", 3, "too slow"), ("piece1", 0, "too much memory")]
    assert found.bad.column("detail").to_pylist() == [
        "not decoded within 0.2 s of processor time",
        "4 bytes need more than an image is given",
    ]
    assert found.pixels[np.array([0, 3, 4, 5])].tobytes() == b"abghijab"


def test_an_item_is_to_blame_at_the_second_death() -> None:
    work = Work(0, source_of(GOOD).pieces[0])
    blame(work, -signal.SIGKILL, 1, 5.0)
    blame(work, -signal.SIGSEGV, 2, 5.0)
    assert work.refused == {}
    blame(work, -signal.SIGSEGV, 2, 5.0)
    assert {position: defect.args for position, defect in work.refused.items()} == {
        2: ("ends its decoder", "SIGSEGV ended the process that decoded it, twice")
    }
    blame(work, -signal.SIGBUS, READING, 5.0)
    with pytest.raises(DataError, match=r"cannot be read: SIGBUS ended the process that tried, twice"):
        blame(work, -signal.SIGBUS, READING, 5.0)
    with pytest.raises(RuntimeError, match="ended with status 1"):
        blame(work, 1, READING, 5.0)


def test_the_same_files_from_any_number_of_processes(tmp_path: Path) -> None:
    source = source_of(*[(b"%c%c" % (65 + row, 97 + row), *GOOD) for row in range(5)])
    for processes in (0, 2):
        ingest(source, order(), tmp_path / str(processes), processes, limits(0.0))
    first, *others = [contents(tmp_path / str(processes)) for processes in (0, 2)]
    assert len(first) == 15
    assert others == [first]


def test_what_a_file_is_refused_for_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.bin: damaged; get the file again"):
        ingest(source_of(GOOD, (b"damaged",)), order(), tmp_path, 1, limits(0.0))


def test_pieces_that_are_whole_are_not_done_again(tmp_path: Path) -> None:
    source = source_of(GOOD, GOOD[::-1], GOOD)
    ingest(source, order(), tmp_path, 0, limits(0.0))
    before = contents(tmp_path)
    (tmp_path / "000001.rows").unlink()
    with (tmp_path / "000002.pixels").open("r+b") as file:
        file.write(b"x")
    assert [is_whole(tmp_path, number, 2) for number in range(3)] == [True, False, False]
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in ("000000.rows", "000000.pixels")}
    ingest(source, order(), tmp_path, 0, limits(0.0))
    assert contents(tmp_path) == before
    assert times == {name: (tmp_path / name).stat().st_mtime_ns for name in times}


def test_a_table_that_is_not_as_it_was_written_is_no_table(tmp_path: Path) -> None:
    ingest(source_of(GOOD), order(), tmp_path, 0, limits(0.0))
    path = tmp_path / "000000.rows"
    for damaged in (path.read_bytes()[:-1], b"", path.read_bytes()[:200] + b"~" + path.read_bytes()[201:]):
        path.write_bytes(damaged)
        assert read_rows(tmp_path, 0) is None
