"""What a check answers, with nothing secret in it."""

from dataclasses import dataclass
from typing import Literal

FindingState = Literal["ok", "problem", "skipped"]


@dataclass(frozen=True)
class CheckResult:
    state: FindingState
    text: str
    """One line for each problem, with its remedy."""


@dataclass(frozen=True)
class Finding:
    name: str
    state: FindingState
    text: str


def ok(text: str) -> CheckResult:
    return CheckResult("ok", text)


def skipped(reason: str) -> CheckResult:
    return CheckResult("skipped", reason)


def problem(*texts: str) -> CheckResult:
    return CheckResult("problem", "\n".join(texts))


def check_result(problems: list[str], fine: str) -> CheckResult:
    return problem(*problems) if problems else ok(fine)


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__
