"""What a check answers, with nothing secret in it."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "problem", "skipped"]


@dataclass(frozen=True)
class Verdict:
    state: State
    text: str
    """One line for each problem, with its remedy."""


@dataclass(frozen=True)
class Finding:
    name: str
    state: State
    text: str


def ok(text: str) -> Verdict:
    return Verdict("ok", text)


def skipped(reason: str) -> Verdict:
    return Verdict("skipped", reason)


def problem(*texts: str) -> Verdict:
    return Verdict("problem", "\n".join(texts))


def judged(problems: list[str], fine: str) -> Verdict:
    return problem(*problems) if problems else ok(fine)


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__
