"""The door to Ray's job server, against a small one that breaks connections: real HTTP and WebSockets on
loopback.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest
import ray
from aiohttp import WSCloseCode, web

from pipeline.errors import SubmitError, UnreachableError
from pipeline.job_server import JobServer

pytestmark = pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning")  # in Ray's SDK
JOB = "espalier-0123456789ab-1"
LINES = [f"line {number}: zwölf\n" for number in range(40)]
TEXT = "".join(LINES)
SILENCE_S = 0.2
RETRY_S = 0.01


@dataclass
class Server:
    """Tells the log LINES from its start at every connection; `scenes` say how each connection ends."""

    scenes: list[Callable[["Server", web.Request, web.WebSocketResponse], Awaitable[None]]] = field(
        default_factory=list
    )
    status: str = "RUNNING"
    version: object = ray.__version__
    asked: int = 0
    failing: int = 0
    knows_job: bool = True
    has_log: bool = True
    address: str = ""

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/api/version", self._version)
        application.router.add_get("/api/jobs/", self._jobs)
        application.router.add_get("/api/jobs/{job}/logs", self._logs)
        application.router.add_get("/api/jobs/{job}/logs/tail", self._tail)
        return application

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"ray_version": self.version, "version": "4", "ray_commit": ""})

    async def _jobs(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.failing:
            self.failing -= 1
            return web.Response(status=500, text="the server is starting")
        entry = {
            "type": "SUBMISSION",
            "submission_id": JOB,
            "status": self.status,
            "entrypoint": "",
            "message": "why",
        }
        return web.json_response([entry] if self.knows_job else [])

    async def _logs(self, request: web.Request) -> web.Response:
        if not self.has_log:
            return web.Response(status=500, text="the agent of its node is gone")
        return web.json_response({"logs": TEXT})

    async def _tail(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if self.scenes:
            await self.scenes.pop(0)(self, request, socket)
        return socket


async def tell(socket: web.WebSocketResponse, until: int = len(TEXT)) -> None:
    """In pieces of other sizes than those that were told before."""
    for start in range(0, until, 37 + until % 5):
        await socket.send_str(TEXT[:until][start : start + 37 + until % 5])


def cut(until: int) -> Callable[[Server, web.Request, web.WebSocketResponse], Awaitable[None]]:
    """The connection is lost."""

    async def scene(server: Server, request: web.Request, socket: web.WebSocketResponse) -> None:
        await tell(socket, until)
        assert request.transport is not None
        request.transport.abort()

    return scene


def close(
    until: int, code: int = WSCloseCode.GOING_AWAY
) -> Callable[[Server, web.Request, web.WebSocketResponse], Awaitable[None]]:
    """The server goes, as in a restart of the dashboard."""

    async def scene(server: Server, request: web.Request, socket: web.WebSocketResponse) -> None:
        await tell(socket, until)
        await socket.close(code=code)

    return scene


async def end(server: Server, request: web.Request, socket: web.WebSocketResponse) -> None:
    """The job is over, and the last lines were told."""
    await tell(socket)
    server.status = "SUCCEEDED"


async def end_short(server: Server, request: web.Request, socket: web.WebSocketResponse) -> None:
    """The job is over, and the connection lost before the last lines."""
    await cut(500)(server, request, socket)
    server.status = "FAILED"


async def be_silent(server: Server, request: web.Request, socket: web.WebSocketResponse) -> None:
    """The job says nothing more, or a cable was pulled: no end of the connection is ever seen."""
    await tell(socket, 100)
    await asyncio.sleep(4 * SILENCE_S)


async def be_silent_and_end(server: Server, request: web.Request, socket: web.WebSocketResponse) -> None:
    server.status = "STOPPED"
    await be_silent(server, request, socket)


@pytest.fixture
def server() -> Iterator[Server]:
    """On a free port, in a thread with a loop of its own."""
    server, ready = Server(), Future[tuple[str, asyncio.AbstractEventLoop]]()
    stop: asyncio.Event = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(server.application(), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.set_result((f"http://127.0.0.1:{runner.addresses[0][1]}", asyncio.get_running_loop()))
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    server.address, loop = ready.result(timeout=10)
    yield server
    loop.call_soon_threadsafe(stop.set)
    thread.join()


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> JobServer:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_RUNTIME_ENV_IGNORE_GITIGNORE"):
        monkeypatch.setenv(name, "")  # which the client sets for Ray's SDK
    return JobServer(server.address, silence_s=SILENCE_S, retry_s=RETRY_S)


@pytest.mark.parametrize(
    "scenes",
    [
        [end],
        [cut(333), cut(700), end],
        [close(333), close(700), end],
        [cut(700), cut(333), end],
        [cut(0), close(1), end],
        [close(333, WSCloseCode.ABNORMAL_CLOSURE - 1), end_short],
        [be_silent, be_silent, end],
        [be_silent_and_end],
    ],
)
def test_the_log_is_printed_once_and_whole(
    server: Server,
    client: JobServer,
    capsys: pytest.CaptureFixture[str],
    scenes: list[Callable[..., Awaitable[None]]],
) -> None:
    server.scenes = scenes
    assert client.follow(JOB).is_over
    assert capsys.readouterr() == (TEXT, "")
    assert server.scenes == []


def test_followed_again_it_is_printed_again(
    server: Server, client: JobServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.status = "SUCCEEDED"
    assert client.follow(JOB).status == "SUCCEEDED"
    server.scenes = [end]
    client.follow(JOB)
    assert capsys.readouterr().out == TEXT + TEXT


def test_a_silent_job_is_asked_after(server: Server, client: JobServer) -> None:
    server.scenes = [be_silent, be_silent, end]
    client.follow(JOB)
    assert server.asked == 3


def test_a_server_that_fails_for_a_while_is_asked_again(
    server: Server, client: JobServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.scenes, server.failing = [cut(333), cut(333), end], 2
    assert client.follow(JOB).status == "SUCCEEDED"
    shown = capsys.readouterr()
    assert shown.out == TEXT
    assert "says: Request failed with status code 500: the server is starting" in shown.err
    assert shown.err.count("the job goes on; trying again\n") == 2


def test_a_server_that_never_comes_back_is_given_up(server: Server, client: JobServer) -> None:
    impatient = JobServer(server.address, silence_s=SILENCE_S, retry_s=RETRY_S, patience_s=0.05)
    server.scenes, server.failing = [cut(333)], 10_000
    with pytest.raises(UnreachableError, match=r"500: the server is starting.*; given up after 0 minutes"):
        impatient.follow(JOB)
    server.failing = 0
    server.status = "SUCCEEDED"
    assert client.follow(JOB).is_over


def test_a_log_that_is_lost_is_given_up(
    server: Server, client: JobServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.scenes, server.has_log = [end_short], False
    assert client.follow(JOB).status == "FAILED"
    shown = capsys.readouterr()
    assert shown.out == TEXT[:500]
    assert shown.err.startswith(
        f"espalier: {JOB} is over, but the end of its log cannot be read: the Ray job server at"
    )
    assert shown.err.count("the agent of its node is gone") == 1


def test_a_cluster_that_was_started_anew_does_not_know_the_job(server: Server, client: JobServer) -> None:
    server.knows_job = False
    with pytest.raises(SubmitError, match=rf"no longer knows {JOB}; was its head started anew\?"):
        client.follow(JOB)


@pytest.mark.parametrize(
    ("version", "error", "said"),
    [
        ("2.9.3", SubmitError, r"has Ray 2.9.3, and here is .*; install the same on both"),
        (
            "none",
            UnreachableError,
            r"no answer from a Ray job server at http://127.0.0.1:\d+ \(Invalid version: 'none'\)",
        ),
        (None, UnreachableError, r"no answer from a Ray job server"),
    ],
)
def test_another_version_is_refused(
    server: Server, client: JobServer, version: object, error: type[Exception], said: str
) -> None:
    server.version = version
    with pytest.raises(error, match=said):
        client.jobs()
