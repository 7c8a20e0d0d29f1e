"""MLflow's failures as errors of ours, and the way to do again what another client has disturbed."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import walk_tb
from typing import TypeVar

from pipeline.errors import EspalierError, UnreachableError, redacted

ResultT = TypeVar("ResultT")
REFUSALS = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}
"""What MLflow's client makes of these statuses."""
TAKEN = "RESOURCE_ALREADY_EXISTS"
MISSING = "RESOURCE_DOES_NOT_EXIST"
CONFLICTS = {
    "BAD_REQUEST",
    "INTERNAL_ERROR",
    "TEMPORARILY_UNAVAILABLE",
    "RESOURCE_CONFLICT",
    "ABORTED",
    TAKEN,
    MISSING,
}
"""MLflow's answers if two clients insert one row, a database is locked, or something went meanwhile."""
MLFLOW_ATTEMPTS = 6
FIRST_PAUSE_S = 0.1
"""The longest before the second attempt; it doubles from one to the next."""
OUR_PACKAGE = __name__.partition(".")[0]
MLFLOW_CURE = "start it, or correct or unset MLFLOW_TRACKING_URI"


def settled(uri: str, act: Callable[[], ResultT]) -> ResultT:
    """What `act` gives: it looks before it makes, and is done anew if another client came between.

    Not if an address does not answer: the wait for it was long enough.
    """
    from mlflow.exceptions import MlflowException

    for attempt in range(MLFLOW_ATTEMPTS - 1):
        try:
            return act()
        except MlflowException as error:
            if error.error_code not in CONFLICTS or _is_silence(uri, error):
                raise
            time.sleep(random.uniform(0, FIRST_PAUSE_S * 2**attempt))  # noqa: S311 - so that two do not meet again
    return act()


@contextmanager
def tolerated(code: str) -> Iterator[None]:
    """Take it as done if MLflow answers with this code: another client has made or deleted the same."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != code:
            raise


@contextmanager
def mlflow_errors(uri: str) -> Iterator[None]:
    """MLflow's exceptions become ours: UnreachableError without an answer, EspalierError for a refusal."""
    from google.protobuf.json_format import ParseError
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except MlflowException as error:
        raise _told(uri, error) from error
    except RequestException as error:  # of an artifact that is sent or fetched
        raise UnreachableError(
            f"MLflow at {redacted(uri)} does not take or give artifacts ({_line(error)}); {MLFLOW_CURE}"
        ) from error
    except (SQLAlchemyError, ImportError) as error:
        raise UnreachableError(
            f"the database at {redacted(uri)} cannot be opened ({_line(error)}); {MLFLOW_CURE}"
        ) from error
    except (ParseError, AttributeError, TypeError, ValueError, LookupError) as error:
        # MLflow's client looks at little of what it is answered. An error of our own code stays what it is.
        if not uri.startswith("http") or not _is_mlflows(error):
            raise
        raise foreign(uri) from error


def foreign(uri: str) -> UnreachableError:
    """The error of an address at which something else answers, such as a proxy's page."""
    return UnreachableError(f"what answers at {redacted(uri)} does not answer as MLflow does; {MLFLOW_CURE}")


def _told(uri: str, error: Exception) -> EspalierError:
    from mlflow.exceptions import MlflowException, RestException

    assert isinstance(error, MlflowException)
    if not isinstance(error, RestException) and error.error_code in REFUSALS:
        cure = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of an account that may"
        return EspalierError(
            f"MLflow at {redacted(uri)} refuses who asks (status {REFUSALS[error.error_code]}); {cure}"
        )
    if "not in a valid JSON format" in str(error):
        return foreign(uri)
    if _is_silence(uri, error):
        return UnreachableError(f"MLflow at {redacted(uri)} does not answer; {MLFLOW_CURE}")
    return EspalierError(f"MLflow at {redacted(uri)} refuses: {_line(error)}")


def _is_silence(uri: str, error: Exception) -> bool:
    """Whether this is what the client says of itself, without an answer of a server's own."""
    from mlflow.exceptions import RestException

    return uri.startswith("http") and not isinstance(error, RestException)


def _is_mlflows(error: Exception) -> bool:
    """Whether MLflow's code met this error, and not ours after it was answered."""
    packages = [
        frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in walk_tb(error.__traceback__)
    ]
    ours = max((depth for depth, name in enumerate(packages) if name == OUR_PACKAGE), default=-1)
    return "mlflow" in packages[ours + 1 :]


def _line(error: Exception) -> str:
    text = str(error).strip()
    return redacted(text.splitlines()[0]) if text else type(error).__name__
