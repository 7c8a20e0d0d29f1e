"""When a training counts as hung: looks are made by hand here, so no time passes."""

import subprocess
import sys

from pipeline.watchdog import FIRST, HUNG, SHORTEST, TIMES_LONGEST, Watch

HANGS = """
import threading
from pipeline import watchdog
watchdog.LOOK_S = 0.01
with watchdog.watched():
    for _ in range(5):
        watchdog.beat()
        threading.Event().wait(0.02)
    {then}
    threading.Event().wait({wait_s})
"""


def found_after(watch: Watch, most: int = 100_000) -> int:
    """Looks without a beat until the training counts as hung."""
    return next(number for number in range(1, most) if watch.look())


def at_pace(looks: int, steps: int = 5) -> Watch:
    """After some steps, each of which took so many looks."""
    watch = Watch()
    for _ in range(steps):
        watch.beat()
        assert not any(watch.look() for _ in range(looks))
    return watch


def test_a_fast_training_is_found_to_hang_after_the_shortest_time() -> None:
    assert found_after(at_pace(1)) == SHORTEST + 1


def test_a_slow_one_may_take_many_times_its_longest_step() -> None:
    looks = 10
    assert found_after(at_pace(looks)) in range(TIMES_LONGEST * (looks - 1), TIMES_LONGEST * looks + 1)


def test_the_first_step_may_take_long_and_sets_no_pace() -> None:
    watch = Watch()
    watch.beat()
    assert not any(watch.look() for _ in range(FIRST - 10))
    for _ in range(5):
        watch.beat()
        watch.look()
    assert found_after(watch) <= SHORTEST + 1
    other = Watch()
    other.beat()
    assert found_after(other) > FIRST


def test_before_the_first_step_and_after_the_last_nothing_is_watched() -> None:
    watch = Watch()
    assert not any(watch.look() for _ in range(10 * FIRST))
    watch = at_pace(1)
    watch.rest()
    assert not any(watch.look() for _ in range(10 * FIRST))


def test_many_batches_between_two_looks_are_one_sign_of_life() -> None:
    watch = Watch()
    for _ in range(10):
        for _ in range(1000):
            watch.beat()
        assert not any(watch.look() for _ in range(SHORTEST // 2))
    assert not watch.look()


def python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_process_that_hangs_ends_itself_and_says_where() -> None:
    """Its twin, which rests, waits as long."""
    hung = python(HANGS.format(then="pass", wait_s=60))
    assert hung.returncode == HUNG
    assert "espalier: the training hung for" in hung.stderr
    assert "(wait); it starts again" in hung.stderr
    rests = python(HANGS.format(then="watchdog.rest()", wait_s=1))
    assert (rests.returncode, rests.stderr) == (0, "")
