"""`secure_app`: a Starlette application that only its own pages can talk to."""

from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fmsel.serving.access import Access

BODY_LIMIT = 64 * 1024  # bytes; an answer has a few hundred
SAFE = ("GET", "HEAD")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Under no-referrer, browsers send "Origin: null" with some requests of the page itself.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TOO_LONG = f"the body may have {BODY_LIMIT:,} bytes"


def secure_app(routes: Sequence[BaseRoute], access: Access) -> Starlette:
    """An application with these routes that refuses what is not for it.

    A request needs a Host header that names this server (else 421), the token where there is one
    (401; `?token=` sets a cookie and leads on without it), and for anything but GET and HEAD: the
    Origin of this server or none (403), a body of JSON (415) of at most `BODY_LIMIT` bytes (413).
    Answers carry `HEADERS`, and are not kept by the browser unless a route says so. Refusals, also
    `HTTPException` of a route, are {"error": one sentence}.
    """
    return Starlette(
        routes=list(routes),
        middleware=[Middleware(_Guard, access=access)],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


def refusal(status: int, sentence: str) -> JSONResponse:
    """A response that says why nothing was done."""
    return JSONResponse({"error": sentence}, status)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = refusal(error.status_code, error.detail)
    response.headers.update(error.headers or {})
    return response


async def _failed(request: Request, error: Exception) -> Response:
    """After a mistake of ours; the traceback goes to the terminal."""
    response = refusal(500, "the server failed; its terminal tells why")
    response.headers.update(HEADERS)  # this goes around `_Guard`
    response.headers["Cache-Control"] = "no-store"
    return response


class _Guard:
    """The checks and headers of `secure_app`, around every request."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # no page has any
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        response = self._refusal(scope) or self._entrance(scope)
        if response is not None:
            await response(scope, receive, send_with_headers)
            return
        await self.app(scope, _limited(receive), send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self.access.allows_host(host):
            return refusal(421, "this server has another name")
        if scope["method"] in SAFE:
            return None
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return refusal(403, "only a page of this server may send this")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return refusal(415, "the body must be application/json")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length[:20]) > BODY_LIMIT:
            return refusal(413, TOO_LONG)
        return None

    def _entrance(self, scope: Scope) -> Response | None:
        """None where a visitor may come in."""
        if self.access.token is None:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token")
        if given is not None and scope["method"] in SAFE and self.access.knows(given):
            rest = urlencode([(key, value) for key, value in query if key != "token"])
            path = "/" + scope["path"].lstrip("/")  # two slashes would name another host
            response = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            # Not "strict": the redirect of a link that was clicked elsewhere would come without it.
            response.set_cookie(self.access.cookie, given, httponly=True, samesite="lax")
            return response
        held = cookie_parser(Headers(scope=scope).get("cookie", "")).get(self.access.cookie)
        if held is not None and self.access.knows(held):
            return None
        return refusal(401, "open the address that fmsel printed, with its token")


def _limited(receive: Receive) -> Receive:
    """Refuse a body that goes on beyond `BODY_LIMIT`, whatever length it announced."""
    read = 0

    async def receive_some() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > BODY_LIMIT:
            raise HTTPException(413, TOO_LONG, headers={"Connection": "close"})
        return message

    return receive_some
