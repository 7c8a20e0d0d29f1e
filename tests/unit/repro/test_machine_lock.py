"""Who may compute beside whom: threads stand for stages, because the kernel's locks are of open files."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.base.stage import Stage
from pipeline.process.leftovers import is_held
from pipeline.repro.machine_lock import LOCKS_FOLDER, hold_machine, taken
from tests.support.project import until

DVC_YAML = """
stages:
  train: {cmd: x, meta: {machine: workers}}
  compare: {cmd: x, meta: {machine: alone}}
  evaluate: {foreach: {dense: {}}, do: {cmd: x}}
"""
RESOURCES = """
resources: {workers: 1, min_workers: null, threads_per_worker: 1, device: cpu, accelerator: null,
    placement: pack,
  address: null, storage: null, max_failures: 0, checkpoint_s: 1.0, await_nodes_s: 0.0, show_ray_logs: false}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text(RESOURCES)
    return tmp_path


def stage(root: Path, name: str) -> Stage:
    return Stage(name, root)


def start(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_what_times_waits_for_who_computes_and_who_comes_later_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[str] = []

    def work(name: str, *, alone: bool) -> None:
        with taken(tmp_path, name, alone=alone):
            order.append(f"{name} begins")
            order.append(f"{name} ends")

    with taken(tmp_path, "train", alone=False), taken(tmp_path, "evaluate@dense", alone=False):
        timed = start(lambda: work("compare", alone=True))
        until(lambda: is_held(tmp_path / "entrance.lock"), "compare waits", 10)
        later = start(lambda: work("evaluate@pruned", alone=False))
        until(
            lambda: "evaluate@pruned: waits for a stage that will time" in capsys.readouterr().err,
            "the later one waits",
            10,
        )
        order.append("train ends")
    timed.join(10)
    later.join(10)
    assert order == [
        "train ends",
        "compare begins",
        "compare ends",
        "evaluate@pruned begins",
        "evaluate@pruned ends",
    ]


def test_dvc_yaml_says_who_computes_where(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = root / LOCKS_FOLDER / "work.lock"
    with hold_machine(stage(root, "evaluate@dense")), hold_machine(stage(root, "train")):
        assert not is_held(work), "others may take it too"
    with hold_machine(stage(root, "compare")):
        assert is_held(work)
        monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
        with hold_machine(stage(root, "train")):  # on a cluster of which this machine is no node
            pass
