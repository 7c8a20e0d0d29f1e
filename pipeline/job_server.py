"""The door to Ray's job server.

Ray's SDK takes the token from RAY_AUTH_MODE=token with RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import SubmitError, UnreachableError, redacted

REQUEST_TIMEOUT_S = 30.0
"""Time for one request, and for a line of the log; a longer silence is asked after."""
SERVER_RETRY_S = 2.0
SERVER_PATIENCE_S = 600.0
"""Time for a job server that does not answer: a head is started anew, on a machine that must come first."""
LOG_ATTEMPTS = 5
"""Attempts to read the end of the log of a job that is over, which its node may have taken along."""
STOP_WAIT_S = 600
"""Between SIGTERM and SIGKILL of a stopped job, which first pushes what is complete; Ray's default is 3 s."""
TALKERS = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
    "ray._private.authentication.http_token_authentication",
)
"""Loggers of Ray's SDK that tell of each step it takes."""
ADDRESS_HINT = (
    "its address is the head's dashboard, http://host:8265; an ssh tunnel or a port-forward keeps that "
    "off the network"
)


def token_remedy() -> str:
    """Remedy if a cluster refuses the token that Ray finds here, or its absence."""
    if os.environ.get("RAY_AUTH_MODE") != "token":
        return "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to a file with the cluster's token"
    path = "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not path:
        return "set RAY_AUTH_TOKEN_PATH to a file with the cluster's token"
    return f"compare {path} with the token of the cluster's head"


@dataclass(frozen=True)
class JobState:
    status: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
    message: str
    exit_code: int | None = None
    """Exit status of what was run, once it has ended by itself."""

    @property
    def is_over(self) -> bool:
        return self.status in {"STOPPED", "SUCCEEDED", "FAILED"}


class Server(Protocol):
    """Takes jobs; the commands need no more of a cluster."""

    @property
    def address(self) -> str:
        """Address with its secrets redacted."""
        ...

    def submit(self, tree: Path, job: str, entrypoint: str, metadata: dict[str, str]) -> None:
        """entrypoint: a constant, run in the tree: data is read from files there, so no shell sees it."""
        ...

    def jobs(self) -> dict[str, JobState]: ...

    def stop(self, job: str) -> None: ...

    def logs(self, job: str) -> str: ...

    def follow(self, job: str) -> JobState: ...


class JobServer:
    """The job server of the cluster at `address` (http://host:8265), which is asked at the first use.

    Every verb raises UnreachableError if none answers, SubmitError if it refuses the token or has another
    Ray.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
        silence_s: float = REQUEST_TIMEOUT_S,
        retry_s: float = SERVER_RETRY_S,
        patience_s: float = SERVER_PATIENCE_S,
    ) -> None:
        """silence_s: of the log, after which it is asked whether the job is over. retry_s: between two looks.

        patience_s: while a job is followed, after which a server that does not answer is given up.
        """
        self.address = redacted(address)
        self._url = address.strip().rstrip("/")
        self._timeout_s = timeout_s
        self._silence_s = silence_s
        self._retry_s = retry_s
        self._patience_s = patience_s
        self._shown = 0

    @cached_property
    def _client(self) -> Any:
        import ray  # seconds of imports that no other command pays
        from ray.job_submission import JobSubmissionClient

        timeout_s = self._timeout_s

        class Client(JobSubmissionClient):
            def _do_request(self, *words: Any, **options: Any) -> Any:
                return super()._do_request(*words, timeout=timeout_s, **options)  # Ray's own waits for ever

        # Or the SDK would take RAY_ADDRESS, which trainings go to.
        os.environ["RAY_API_SERVER_ADDRESS"] = self._url
        os.environ["RAY_RUNTIME_ENV_IGNORE_GITIGNORE"] = (
            "1"  # tree.py has chosen what is sent, to the last file
        )
        for talker in TALKERS:
            logging.getLogger(talker).setLevel(logging.ERROR)
        client = Client(self._url)
        there = client._do_request("GET", "/api/version").json()["ray_version"]
        if there != ray.__version__:
            raise SubmitError(
                f"the cluster at {self.address} has Ray {there}, and here is {ray.__version__}; install the "
                "same on both"
            )
        return client

    def check(self) -> None:
        """Ask for its version alone, with the token."""
        with self._asked():
            assert self._client

    def submit(self, tree: Path, job: str, entrypoint: str, metadata: dict[str, str]) -> None:
        runtime_env = {"working_dir": str(tree), "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}}
        with self._asked():
            self._client.submit_job(
                entrypoint=entrypoint, submission_id=job, runtime_env=runtime_env, metadata=metadata
            )

    def jobs(self) -> dict[str, JobState]:
        """Jobs that were submitted to this cluster, by name."""
        with self._asked():
            infos = {info.submission_id: info for info in self._client.list_jobs() if info.submission_id}
        return {
            name: JobState(str(info.status.value), info.message or "", info.driver_exit_code)
            for name, info in infos.items()
        }

    def stop(self, job: str) -> None:
        with self._asked():
            self._client.stop_job(job)

    def logs(self, job: str) -> str:
        with self._asked():
            text: str = self._client.get_job_logs(job)
            return text

    def follow(self, job: str) -> JobState:
        """Print the job's log as it grows, from its start, until the job is over, over lost connections.

        Raises UnreachableError if that failed for as long as the timeout allows.
        """
        self._shown = 0
        lost_since = None
        while True:
            try:
                asyncio.run(self._print_new(job))
                state = self.jobs().get(job)
                lost_since = None
                if state is None:
                    raise SubmitError(
                        f"the cluster at {self.address} no longer knows {job}; was its head started anew?"
                    )
                if state.is_over:
                    self._print_end(job)
                    return state
            except UnreachableError as error:
                lost_since = lost_since or time.monotonic()
                if time.monotonic() - lost_since > self._patience_s:
                    raise UnreachableError(
                        f"{error}; given up after {self._patience_s / 60:.0f} minutes"
                    ) from error
                sys.stderr.write(f"espalier: {error}\nthe job goes on; trying again\n")
            time.sleep(self._retry_s)

    def _print_end(self, job: str) -> None:
        for attempt in range(1, LOG_ATTEMPTS + 1):
            try:
                sys.stdout.write(self.logs(job)[self._shown :])
                sys.stdout.flush()
            except UnreachableError as error:
                if attempt == LOG_ATTEMPTS:
                    sys.stderr.write(
                        f"espalier: {job} is over, but the end of its log cannot be read: {error}\n"
                    )
            else:
                return
            time.sleep(self._retry_s)

    async def _print_new(self, job: str) -> None:
        """Print what was not shown yet, until the log ends, is silent, or the connection is lost."""
        import aiohttp

        passed = 0
        chunks: AsyncIterator[str] = self._client.tail_job_logs(job)
        while True:
            try:
                chunk = await asyncio.wait_for(anext(chunks), self._silence_s)
            except (StopAsyncIteration, TimeoutError, OSError, RuntimeError, aiohttp.ClientError):
                return  # why is what the next request will tell
            passed += len(chunk)
            if passed > self._shown:
                sys.stdout.write(chunk[-(passed - self._shown) :])
                sys.stdout.flush()
                self._shown = passed

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Around a request: each way to fail is said in our words."""
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise SubmitError(f"{self.address} refuses the token; {token_remedy()}") from error
        except RuntimeError as error:  # an answer, but none that Ray's SDK takes
            raise UnreachableError(
                f"the Ray job server at {self.address} says: {_one_line(error)}; {ADDRESS_HINT}"
            ) from error
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
        ) as error:  # the last two: JSON of another kind of server
            raise UnreachableError(
                f"no answer from a Ray job server at {self.address} ({_one_line(error)}); {ADDRESS_HINT}"
            ) from error


def _one_line(error: Exception) -> str:
    return redacted(" ".join(str(error).split()))[:200] or type(error).__name__
