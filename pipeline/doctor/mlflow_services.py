"""MLflow: whether its server lets runs in, and what it still lacks."""

import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.doctor.finding import CheckResult, check_result, ok, one_line, problem, skipped
from pipeline.errors import redacted
from pipeline.process.leftovers import is_held
from pipeline.tracking.records import all_journals, journal_lock, read_record
from pipeline.tracking.store import ask

MLFLOW_TIMEOUT_S = 5.0


def mlflow(root: Path, timeout_s: float = MLFLOW_TIMEOUT_S) -> CheckResult:
    """Raises UnreachableError or EspalierError if it answers, but not with what was asked."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if urlsplit(uri).scheme not in {"http", "https"}:
        return skipped("MLFLOW_TRACKING_URI names no server; runs go to a database file")
    if "@" in urlsplit(uri).netloc:
        return problem(
            "MLFLOW_TRACKING_URI holds a user name or password, which logs and errors show; take it out, and "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if fault := _health_fault(f"{uri.rstrip('/')}/health", timeout_s):
        return problem(f"MLflow at {redacted(uri)} {fault}")
    ask(root)
    return ok(f"{redacted(uri)} answers, also to what runs ask of it")


def journals(root: Path) -> CheckResult:
    """Journals that no stage is delivering now. Raises EspalierError for a damaged record."""
    waiting = [
        journal
        for journal in all_journals(root)
        if not read_record(journal).delivered and not is_held(journal_lock(journal))
    ]
    names = ", ".join(journal.stem for journal in waiting)
    return check_result(
        [f"{len(waiting)} not delivered ({names}); `espalier sync` sends them"] if waiting else [],
        "MLflow has all",
    )


def _health_fault(url: str, timeout_s: float) -> str | None:
    remedy = "start it, or correct or unset MLFLOW_TRACKING_URI"
    try:
        with urllib.request.urlopen(url, timeout=timeout_s):  # noqa: S310 - http or https, as the caller has seen
            return None
    except urllib.error.HTTPError as error:
        with error:
            if error.code in {401, 403}:
                remedy = "ask whoever runs it for an account and for the host name that it goes by"
            return f"answers /health with status {error.code}; {remedy}"
    except TimeoutError:
        return f"says nothing within {timeout_s:g} s; {remedy}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"does not answer ({one_line(error)}); {remedy}"
