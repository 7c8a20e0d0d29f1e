"""The choice among candidates, and the table of them."""

from pipeline.frontier.candidates import Frontier, Speed
from pipeline.frontier.show import candidates_table, choice
from tests.support.frontier_samples import DENSE, TINY, candidate, sample


def test_the_choice_is_by_validation_and_names_the_experiment() -> None:
    found = sample()
    eligible = found.eligible(keep=0.995, max_ms=None)
    assert [(each.variant, each.label) for each in eligible] == [("quantized", "0.7")], "0.975 < 0.995 x 0.98"
    assert found.smallest(found.eligible(0.9, None)).size_bytes == 150
    assert found.fastest(found.eligible(0.9, None)).speeds[1].speedup == 4.0
    assert [each.label for each in found.eligible(0.9, max_ms=0.6)] == ["0.5"], "2 ms / 4"
    said = choice(found, 0.995, None)
    assert said.startswith("Smallest and fastest that keeps 0.995 of dense's validation score")
    assert "\nFastest that keeps 0.9 " in choice(
        Frontier(DENSE, [*found.candidates, TINY], [], {}, 1.0), 0.9, None
    )
    assert (
        "quantized 0.7: validation 0.9790, test 0.9700 (-0.0100), 0.2 kB, 0.667 ms, 3.00x  [frontier-0.7]"
        in said
    )
    assert "`dvc exp apply frontier-0.7`" in said
    assert choice(found, 0.999, 0.1).startswith(
        "None keeps 0.999 of dense's validation score (0.9790 of 0.9800) within 0.1 ms"
    )
    assert "; the fastest that keeps as much takes longer: quantized 0.5: " in choice(found, 0.9, 0.1)


def test_what_is_slower_than_what_it_was_made_from_is_not_chosen() -> None:
    """Twin: the same point, as slow as its parent."""
    slow, same = (
        candidate(
            "quantized",
            "0.5",
            1.4,
            0.98,
            size_bytes=10,
            speeds={1: Speed(0.7, 1.4, most), 64: Speed(1.0, 1.4, 2.0)},
        )
        for most in (0.76, 1.0)
    )
    parent = candidate("finetuned", "0.5", 1.9, 0.98, size_bytes=40)
    said = choice(Frontier(DENSE, [parent, slow], [], {}, 1.0), 0.99, None)
    assert said.startswith("Smallest and fastest that keeps")
    assert "\n  finetuned 0.5: " in said
    refusal = "Not chosen, since slower than what it was made from (0.76 of its speed at most): quantized 0.5"
    assert refusal in said.splitlines()
    assert refusal in choice(Frontier(DENSE, [slow], [], {}, 1.0), 0.99, None).splitlines()
    for found in (Frontier(DENSE, [parent, same], [], {}, 1.0), Frontier(DENSE, [parent, slow], [], {}, 0.5)):
        assert found.smallest(found.eligible(0.99, None)).variant == "quantized"


def test_the_table_marks_the_pareto_set_and_what_is_slower() -> None:
    lines = candidates_table(sample()).splitlines()
    assert [line.split()[:2] for line in lines[3:7]] == [
        ["0.7", "finetuned"],
        ["0.5", "finetuned"],
        ["0.7", "quantized"],
        ["0.5", "quantized"],
    ]
    assert lines[2].endswith("1.00x*           1.00x*")
    assert lines[3].endswith("0.80x (slower)   0.80x (slower)")
    assert lines[5].endswith("3.00x*           3.00x*")
    assert "CPU x" in lines[-1]
    assert "(slower)" not in "\n".join(lines[:3] + lines[4:])
