"""Where data travels: resources.storage, with the clock that signatures need, and the DVC remote."""

import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

import fsspec

from pipeline.doctor.finding import CheckResult, ok, one_line, problem, skipped
from pipeline.errors import EspalierError
from pipeline.jobs.remote import check_remote, named_remote
from pipeline.storage import Storage

LIMIT_S = 15.0
"""The storage's own patience with a bucket is minutes."""
LARGEST_SKEW_S = 300.0
"""S3 refuses signatures that are 15 minutes off."""
PROBE_CONTENT = b"espalier doctor"


def storage(url: str | None, limit_s: float = LIMIT_S) -> CheckResult:
    if not url:
        return skipped("resources.storage is null")
    if "://" not in url and not Path(url).is_dir():
        return problem(f"resources.storage: {url} is no folder here; mount it on every node, or make it")
    late = problem(
        f"{url} did not answer within {limit_s:g} s; check resources.storage, AWS_ENDPOINT_URL and the "
        "network"
    )
    return _within(limit_s, lambda: _tried(url), late)


def remote(root: Path, limit_s: float = LIMIT_S) -> CheckResult:
    """Raises SubmitError if none is set."""
    name, url = named_remote(root)
    late = problem(
        f"the DVC remote {name!r}, {url}, did not answer within {limit_s:g} s; check .dvc/config and the "
        "network"
    )
    return _within(limit_s, lambda: _sent_to(root), late)


def _within(limit_s: float, ask: Callable[[], CheckResult], late: CheckResult) -> CheckResult:
    """Ask in a thread, because a request to a bucket or to a dead mount cannot be called back."""
    found: list[CheckResult] = []
    thread = threading.Thread(target=lambda: found.append(ask()), daemon=True, name="probe")
    thread.start()
    thread.join(limit_s)
    return found[0] if found else late


def _sent_to(root: Path) -> CheckResult:
    try:
        check_remote(root)
    except EspalierError as error:
        return problem(one_line(error))
    return ok("is set in .dvc/config, and takes files")


def _tried(url: str) -> CheckResult:
    place, name = Storage(url), f"doctor-{secrets.token_hex(8)}"
    try:
        place.write(f"{name}/probe", PROBE_CONTENT)
        try:
            return _checked(place, name)
        finally:
            place.remove(name)
    except EspalierError as error:
        return problem(one_line(error))
    except (
        Exception
    ) as error:  # of whatever library serves this kind of storage; a thread's own would be a traceback
        return problem(
            f"{url}: {type(error).__name__}: {one_line(error)}; check resources.storage and the AWS_* "
            "variables"
        )


def _checked(place: Storage, name: str) -> CheckResult:
    if place.read(f"{name}/probe") != PROBE_CONTENT or place.below(name).names() != ["probe"]:
        return problem(
            f"{place.url} does not give back what was written just now; it is not consistent, use another "
            "storage"
        )
    if "://" not in place.url:
        return ok(f"{place.url} is written, read, listed and removed")
    files, path = fsspec.url_to_fs(f"{place.url}/{name}/probe")
    skew_s = time.time() - files.modified(path).timestamp()
    if abs(skew_s) > LARGEST_SKEW_S:
        where = "ahead of" if skew_s > 0 else "behind"
        return problem(
            f"this clock is {abs(skew_s):,.0f} s {where} that of {place.url}, which will refuse signatures; "
            "set it (NTP)"
        )
    return ok(
        f"{place.url} is written, read, listed and removed; clocks agree to {max(abs(skew_s), 1):.0f} s"
    )
