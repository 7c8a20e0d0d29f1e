"""A proxy in front of an S3 store that can be told to answer 503, as real ones do when they are asked too
much.

    python s3_proxy.py LISTEN_IP LISTEN_PORT STORE_URL SWITCH

While the file SWITCH exists, every request is answered 503. It runs alone on a host, so it imports nothing of
this project.
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import ClientSession, ClientTimeout, web

HOP_BY_HOP = {"connection", "expect", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"}
"""Headers of one connection, not of the message; aiohttp writes its own."""
CHUNK_BYTES = 1 << 16
SESSION = web.AppKey("session", ClientSession)
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


def proxy(store: str, switch: Path) -> web.Application:
    """Pass each request on to `store`, its body in pieces, unless the file `switch` exists."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if switch.exists():
            return web.Response(status=503, body=SLOW_DOWN, content_type="application/xml")
        async with application[SESSION].request(
            request.method,
            f"{store}{request.raw_path}",
            headers=[
                (name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP
            ],
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        ) as reply:
            response = web.StreamResponse(status=reply.status, reason=reply.reason)
            response.headers.extend(
                (name, value) for name, value in reply.headers.items() if name.lower() not in HOP_BY_HOP
            )
            await response.prepare(request)
            async for piece in reply.content.iter_chunked(CHUNK_BYTES):
                await response.write(piece)
            await response.write_eof()
            return response

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    application.cleanup_ctx.append(_session)
    return application


async def _session(application: web.Application) -> AsyncIterator[None]:
    # Bodies and headers go through as they are: no decompression, nothing added.
    async with ClientSession(
        auto_decompress=False,
        skip_auto_headers=["User-Agent", "Accept", "Accept-Encoding", "Content-Type"],
        timeout=ClientTimeout(total=None),
    ) as session:
        application[SESSION] = session
        yield


if __name__ == "__main__":
    ip, port, store, switch = sys.argv[1:]
    web.run_app(proxy(store, Path(switch)), host=ip, port=int(port), print=None)
