"""What a user can get wrong, in real stage processes: one clear message, a non-zero status, and the last good
outs stay.
"""

import io
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.data_samples import parquet_source
from tests.support.project import MADE, Done, Project, copied_project, until

pytestmark = pytest.mark.timeout(1500)

OUTS = ("data/prepared", "artifacts", "exported", "reports")
AT_ONCE = 2
"""Stages that run beside each other; most of their time is one core's, in imports."""
DEAD = "http://127.0.0.1:9"
"""The port `discard`, where nothing listens."""
ON_SMALL_DISK = """
set -e
folder=$1 size=$2
shift 2
cp -a "$folder" "$folder.spare"
mount -t tmpfs -o size="$size" tmpfs "$folder"
cp -a "$folder.spare/." "$folder"
rm -r "$folder.spare"
status=0
"$@" || status=$?
cp -a "$folder" "$folder.spare"
umount "$folder"
rm -r "$folder"
mv "$folder.spare" "$folder"
exit $status
"""
"""Runs a command while a folder lies on a disk of its own, of some bytes, which only this process and its
children see."""
FREE_BYTES = 24 * 1024
PAGE_BYTES = 4096


@dataclass(frozen=True)
class Case:
    """A stage that must fail.

    says: what its message holds, in this order (regular expressions). full_disk: the folder that can hold
    what is in it and hardly more.
    """

    stage: str
    spoil: Callable[[Project], None]
    says: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    full_disk: str | None = None


class Outcome(NamedTuple):
    done: Done
    before: dict[str, str]
    after: dict[str, str]


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), shade).save(file, "PNG")
    return file.getvalue()


GOOD = [(png(8 * number), number % 3) for number in range(30)]
"""Rows of a good table: three classes with ten images each."""


def parquet(rows: list[tuple[bytes, int]]) -> Callable[[Project], None]:
    """Make a table the project's source."""

    def spoil(project: Project) -> None:
        images, labels = zip(*rows, strict=True)
        table = pa.table({"image": pa.array(images, pa.binary()), "label": pa.array(labels, pa.int64())})
        pq.write_table(table, project.root / "data/raw/table.parquet")
        project.change_params({"data": {"source": parquet_source(path="data/raw/table.parquet")}})

    return spoil


def params(**changes: object) -> Callable[[Project], None]:
    return lambda project: project.change_params(changes)


def misspelt_key(project: Project) -> None:
    values = project.read_params()
    values["train"]["epoch"] = values["train"].pop("epochs")
    project.write_params(values)


def flip_one_byte(project: Project) -> None:
    weights = project.root / "artifacts/dense/weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)


def nothing(project: Project) -> None:
    """The fault is outside the project."""


CASES = {
    "misspelt key": Case(
        "train",
        misspelt_key,
        (
            "key 'train.epochs' is missing; add it",
            r"params\.yaml: unknown key 'train\.epoch'; did you mean 'epochs'\?",
        ),
    ),
    "label out of range, undecodable image": Case(
        "prepare",
        parquet([*GOOD, (png(255), -1), (png(255)[:40], 0)]),
        (
            r"2 of 32 rows are defective \(6\.25%\), more than data\.limits\.max_quarantined allows \(1\.00",
            r"table\.parquet row 30: label out of range: column 'label': label -1 is negative",
            r"table\.parquet row 31: undecodable image",
            "Mend the rows, or raise data.limits.max_quarantined",
        ),
    ),
    "flipped byte": Case(
        "prune",
        flip_one_byte,
        (
            r"artifacts/dense/weights\.safetensors: its SHA-256 is",
            "corrupt or was edited; run `espalier verify --mend`, then `dvc repro`",
        ),
    ),
    "dead registry": Case(
        "register",
        nothing,
        (f"MLflow at {DEAD} does not answer; start it, or correct or unset MLFLOW_TRACKING_URI",),
        (("MLFLOW_TRACKING_URI", DEAD),),
    ),
    "more workers than images": Case(
        "train",
        params(train={"global_batch_size": 1}),
        (
            "2 workers x 1 accumulated parts need at least 2 images in each batch",
            "raise global_batch_size, or lower",
        ),
    ),
    "no such cluster": Case(
        "train",
        nothing,
        ("no Ray cluster answers at 127.0.0.1:1; start one",),
        (("RAY_ADDRESS", "127.0.0.1:1"),),
    ),
    "full disk under the data": Case(
        "prepare",
        nothing,
        ("data/prepared: the disk is full; nothing was replaced. Free some space",),
        full_disk="data",
    ),
    "full disk under the models": Case(
        "prune",
        nothing,
        ("artifacts/pruned: the disk is full; nothing was replaced. Free some space",),
        full_disk="artifacts",
    ),
}
TRACKING_DOWN = "tracking down"


def outcome_of(case: Case, project: Project) -> Outcome:
    case.spoil(project)
    before = project.digests(*OUTS)
    command: tuple[str, ...] = ("python", "-m", f"stages.{case.stage}")
    if case.full_disk:
        command = (*on_small_disk(project.root, case.full_disk), *command)
    running = project.start(*command, **dict(case.environment))
    running.wait()
    until(lambda: not project.processes(), "the courier ends after the stage", 90.0)
    done = running.wait()
    return Outcome(done, before, project.digests(*OUTS))


def on_small_disk(root: Path, folder: str) -> tuple[str, ...]:
    """The words that start a command with `folder` on a disk that has FREE_BYTES left."""
    sizes = [path.stat().st_size for path in (root / folder).rglob("*") if path.is_file()]
    used = sum(-(-size // PAGE_BYTES) * PAGE_BYTES for size in sizes)
    return (
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        ON_SMALL_DISK,
        "sh",
        folder,
        str(used + FREE_BYTES),
    )


def may_mount() -> bool:
    """Whether this machine lets an unprivileged process mount a disk that only itself sees."""
    if shutil.which("unshare") is None:
        return False
    words = ("unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp")
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def small(complete: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Project]]:
    """Makes copies of the finished project, without its caches."""
    left_out = [name for name in MADE if name.startswith(".")]
    with ExitStack() as copies:

        def make() -> Project:
            return copies.enter_context(
                copied_project(complete, tmp_path_factory.mktemp("spoilt"), leave_out=left_out)
            )

        yield make


@pytest.fixture(scope="module")
def outcomes(small: Callable[[], Project]) -> Iterator[dict[str, Future[Outcome]]]:
    """Every case, each in a copy of its own, two at a time."""
    mounts = may_mount()
    possible = {name: case for name, case in CASES.items() if mounts or not case.full_disk}
    # How a training goes on then is in test_kill.
    changed = params(data={"split": {"seed": 1}})
    tracking_down = Case("prepare", changed, (), (("MLFLOW_TRACKING_URI", DEAD),))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        # The longest first, so that nothing waits for one alone at the end.
        last_first = reversed([*possible.items(), (TRACKING_DOWN, tracking_down)])
        yield {name: pool.submit(outcome_of, case, small()) for name, case in last_first}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_named(outcomes: dict[str, Future[Outcome]], name: str) -> None:
    if name not in outcomes:
        pytest.skip("this machine does not let us mount a small disk (unshare --map-root-user --mount)")
    outcome, case = outcomes[name].result(), CASES[name]
    check_message(outcome.done, case.stage, *case.says)
    assert outcome.after == outcome.before, "the last good outs were touched"


def test_a_stage_goes_on_without_its_tracking_server(outcomes: dict[str, Future[Outcome]]) -> None:
    done, before, after = outcomes[TRACKING_DOWN].result()
    assert done.status == 0, done
    assert after["data/prepared/manifest.json"] != before["data/prepared/manifest.json"]
    assert f"espalier prepare: MLflow at {DEAD} does not answer" in done.err
    assert "wait in .espalier/journals/prepare-" in done.err
    assert "`espalier sync` or the next stage sends them" in done.err
    assert "Traceback" not in done.err


def check_message(done: Done, stage: str, *says: str) -> None:
    """One message, which holds all of `says` in this order, and nothing else on stderr."""
    assert done.status == 1, done
    assert done.err.startswith(f"espalier {stage}: "), done.err
    assert len(re.findall("(?m)^espalier ", done.err)) == 1, done.err
    assert re.search("(?s)" + ".*".join(says), done.err), done.err
    assert "Traceback" not in done.err + done.out
    assert "Warning" not in done.err
