"""`espalier frontier show`: the table of all candidates, the choice by constraint, and the picture."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.base.files import write_atomic
from pipeline.base.params import nearest
from pipeline.compare.records import speed_text
from pipeline.errors import ParamsError
from pipeline.frontier.candidates import Candidate, Frontier, frontier
from pipeline.frontier.experiments import read_experiments
from pipeline.frontier.picture import draw_frontier
from pipeline.frontier.points import COMPARED_VARIANTS, Project


def show(root: Path, *, keep: float, max_ms: float | None, variants: Sequence[str], picture: Path) -> str:
    """Draws the picture; the table and the choice as text.

    Raises ParamsError, and ArtifactError if nothing was swept.
    """
    if not 0 < keep <= 2:
        raise ParamsError(f"--keep {keep:g}: a fraction of the dense model's accuracy, for example 0.995")
    for variant in variants:
        if variant not in COMPARED_VARIANTS:
            raise ParamsError(
                f"--variants: {variant!r} is not swept{nearest(variant, list(COMPARED_VARIANTS))}"
            )
    found = frontier(Project(root), read_experiments(root), variants)
    write_atomic(picture, draw_frontier(found))
    return "\n".join([candidates_table(found), "", choice(found, keep, max_ms), "", f"Drawn: {picture}"])


def candidates_table(found: Frontier) -> str:
    """Candidates as rows, the slowest first; a star if none is both faster and more accurate."""
    best = {batch: found.pareto(batch) for batch in found.batches}
    ordered = sorted(found.candidates, key=lambda each: (found.speedup(each), each.experiment))
    head = [" ".join(found.keys), "variant", "val score", "test score", "", "MACs", "size", "ms"]
    head += [f"speed at {batch}" for batch in found.batches]
    rows = [head, *(_row(each, found, best) for each in [found.dense, *ordered])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    aligned = ["  ".join([*_left(row[:2], widths), *_right(row[2:], widths[2:])]).rstrip() for row in rows]
    whole = f"{found.ms(found.dense):.3f} ms"
    notes = [
        "*: none is faster and no less accurate on the test split. Speed: dense's time / the candidate's, "
        "timed in turns in",
        f"one process on {found.dense.measured_on}. ms: at batch {found.batches[0]}, dense's {whole} / speed",
    ]
    notes += [f"experiments left out: {number} {what}" for what, number in found.left_out.items()]
    return "\n".join([aligned[0], "-" * max(map(len, aligned)), *aligned[1:], *notes])


def choice(found: Frontier, keep: float, max_ms: float | None) -> str:
    """The choice by validation accuracy; what the test split says stands beside it."""
    within = "" if max_ms is None else f" within {max_ms:g} ms"
    floor = (
        f"{keep:.4g} of dense's validation score ({keep * found.dense.val_score:.4f} of "
        f"{found.dense.val_score:.4f}){within}"
    )
    eligible = found.eligible(keep, max_ms)
    refused = [
        "Not chosen, since slower than what it was made from "
        f"({each.speeds[found.batches[0]].step_at_most:.2f} of its speed at most): {each.variant} "
        f"{each.label}".rstrip()
        for each in found.candidates
        if found.is_refused(each)
    ]
    if not eligible and (accurate := found.eligible(keep, None)):
        fast = found.fastest(accurate)
        return "\n".join(
            [
                f"None keeps {floor}; the fastest that keeps as much takes longer: {_said(fast, found)}",
                *refused,
            ]
        )
    if not eligible:
        best = max(found.candidates, key=lambda each: each.val_score)
        none = f"None keeps {floor}; the most accurate has {best.val_score:.4f}: {_said(best, found)}"
        return "\n".join([none, *refused])
    small, fast = found.smallest(eligible), found.fastest(eligible)
    chosen = [("Smallest and fastest", small)] if small is fast else [("Smallest", small), ("Fastest", fast)]
    lines = [f"{what} that keeps {floor}:\n  {_said(each, found)}" for what, each in chosen]
    applied = dict.fromkeys(each.experiment for _, each in chosen)
    lines += [
        *refused,
        *(f"`dvc exp apply {name}` brings it here; `make repro` then registers it" for name in applied),
    ]
    return "\n".join(lines)


def _said(each: Candidate, found: Frontier) -> str:
    tested = f"validation {each.val_score:.4f}, test {each.score:.4f} ({each.score - found.dense.score:+.4f})"
    timed = f"{found.ms(each):.3f} ms, {speed_text(found.speedup(each))}"
    return f"{each.variant} {each.label}: {tested}, {_size(each)}, {timed}  [{each.experiment}]"


def _row(each: Candidate, found: Frontier, best: dict[int, list[Candidate]]) -> list[str]:
    return [
        each.label,
        each.variant,
        f"{each.val_score:.4f}",
        f"{each.score:.4f}",
        "" if each is found.dense else f"{each.score - found.dense.score:+.4f}",
        f"{each.macs / found.dense.macs:.0%}",
        _size(each),
        f"{found.ms(each):.3f}",
        *(
            speed_text(each.speeds[batch].speedup) + ("*" if each in best[batch] else " ")
            for batch in found.batches
        ),
    ]


def _size(each: Candidate) -> str:
    return f"{each.size_bytes / 1e3:,.1f} kB"


def _left(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]


def _right(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell.rjust(width) for cell, width in zip(cells, widths, strict=False)]
