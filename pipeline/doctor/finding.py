"""What a check answers, with nothing secret in it."""

import os
import re
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "problem", "skipped"]
SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "RAY_AUTH_TOKEN",
)
"""Variables whose values a server might repeat in its answer."""


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


def concealed(text: str) -> str:
    """`text` without user names and passwords in addresses, and without the values of secret variables."""
    text = re.sub(r"://[^\s'\"]*@", "://***@", text)
    for value in filter(None, map(os.environ.get, SECRETS)):
        text = text.replace(value, "***")
    return text
