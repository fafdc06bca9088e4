"""What is served is told to nobody but its own page, and the server stops when it is told to."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit
from urllib.request import urlopen

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from fmsel.errors import OptionError
from fmsel.serving import Access, listen, secure_app, stable_port
from fmsel.serving.app import BODY_LIMIT, HEADERS

LOCAL = Access("127.0.0.1", 8000, None)
SHARED = Access("0.0.0.0", 8000, "s3cret")
JSON = {"content-type": "application/json"}


async def echo(request: Request) -> Response:
    body = await request.json() if request.method == "POST" else None
    return JSONResponse({"body": body, "query": str(request.query_params)})


async def kept(request: Request) -> Response:
    return Response("kept", headers={"Cache-Control": "max-age=60"})


async def fail(request: Request) -> Response:
    raise RuntimeError("a mistake")


async def refuse(request: Request) -> Response:
    raise HTTPException(418, "a teapot", headers={"X-Pot": "tea"})


def client(access: Access = LOCAL, base: str = "http://127.0.0.1:8000") -> TestClient:
    routes = [
        Route("/", echo, methods=["GET", "POST"]),
        Route("/kept", kept),
        Route("/fail", fail),
        Route("/refuse", refuse),
    ]
    return TestClient(
        secure_app(routes, access),
        base_url=base,
        raise_server_exceptions=False,
        follow_redirects=False,
    )


@pytest.mark.parametrize(
    ("header", "local", "shared"),
    [
        ("127.0.0.1:8000", True, True),
        ("localhost:8000", True, True),
        ("LOCALHOST", True, True),  # without a port: 80
        ("localhost:9000", True, True),  # the near end of a tunnel
        (socket.gethostname(), False, True),
        ("192.168.1.7:8000", False, True),
        ("[::1]:8000", False, True),
        ("evil.example:8000", False, False),
        ("127.0.0.1.evil.example", False, False),
        ("localhost.evil.example:8000", False, False),
        ("evil.example:8000@127.0.0.1:8000", False, False),
        ("127.0.0.1:8000,evil.example", False, False),
        ("127.0.0.1:\u00b2", False, False),  # a digit that is no number
        ("127.0.0.1:", False, False),
        ("[::1", False, False),
        ("::1", False, False),
        ("", False, False),
    ],
)
def test_other_names_are_not_this_server(header: str, local: bool, shared: bool) -> None:
    assert LOCAL.allows_host(header) is local
    assert SHARED.allows_host(header) is shared
    response = client().get("/", headers={b"host": header.encode("latin-1")})
    assert response.status_code == (200 if local else 421)


def test_loopback_of_ipv6_answers_to_its_name() -> None:
    access = Access("::1", 8000, None)
    assert access.allows_host("[::1]:8000") and not access.allows_host("127.0.0.1:8000")
    assert access.url == "http://[::1]:8000/"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (JSON, 200),
        (JSON | {"content-type": "Application/JSON; charset=utf-8"}, 200),
        (JSON | {"origin": "http://127.0.0.1:8000"}, 200),
        (JSON | {"origin": "http://127.0.0.1:3000"}, 403),  # another server of this machine
        (JSON | {"origin": "http://localhost:8000"}, 403),
        (JSON | {"origin": "https://127.0.0.1:8000"}, 403),
        (JSON | {"origin": "null"}, 403),
        ({"content-type": "text/plain"}, 415),  # what a form of another site can send
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({}, 415),
        (JSON | {"content-length": "100000000000000000000000"}, 413),
        (JSON | {"content-length": "ten"}, 413),
    ],
)
def test_only_the_page_itself_may_send(headers: dict[str, str], status: int) -> None:
    response = client().post("/", content=b"{}", headers=headers)
    assert response.status_code == status
    assert status == 200 or list(response.json()) == ["error"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X-ODD"])
def test_other_methods_do_nothing(method: str) -> None:
    assert client().request(method, "/", headers=JSON).status_code == 405
    evil = JSON | {"origin": "http://evil.example"}
    assert client().request(method, "/", headers=evil).status_code == 403


@pytest.mark.parametrize("announced", [True, False])
def test_long_bodies_are_refused_announced_or_in_pieces(announced: bool) -> None:
    def text(length: int) -> bytes:
        return b'"' + b"x" * (length - 2) + b'"'

    def pieces(content: bytes) -> Iterator[bytes]:
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]

    for length, status in ((BODY_LIMIT, 200), (BODY_LIMIT + 1, 413), (10 * BODY_LIMIT, 413)):
        body = text(length)
        response = client().post("/", content=body if announced else pieces(body), headers=JSON)
        assert response.status_code == status, length
    assert response.json() == {"error": f"the body may have {BODY_LIMIT:,} bytes"}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), ("/none", 404), ("/fail", 500), ("/refuse", 418), ("/kept", 200)],
)
def test_every_answer_carries_the_headers(path: str, status: int) -> None:
    response = client().get(path)
    assert response.status_code == status
    assert all(response.headers[name] == value for name, value in HEADERS.items())
    assert "default-src 'none'" in response.headers["content-security-policy"]
    stored = "max-age=60" if path == "/kept" else "no-store"
    assert response.headers["cache-control"] == stored
    assert status == 200 or list(response.json()) == ["error"]


@pytest.mark.parametrize("access", [LOCAL, SHARED])
def test_refusals_carry_the_headers_too(access: Access) -> None:
    for response in (
        client(access).get("/", headers={"host": "evil.example"}),
        client(access).post("/", content=b"{}", headers=JSON | {"origin": "http://evil.example"}),
        client(SHARED).get("/"),
    ):
        assert response.status_code in (421, 403, 401)
        assert all(response.headers[name] == value for name, value in HEADERS.items())


def test_a_mistake_of_ours_is_not_told_to_the_visitor() -> None:
    assert "a mistake" not in client().get("/fail").text
    assert client().get("/refuse").headers["x-pot"] == "tea"


def test_the_token_lets_in_once_and_the_cookie_from_then_on() -> None:
    visitor = client(SHARED)
    assert visitor.get("/").status_code == 401
    assert visitor.get("/?token=wrong").status_code == 401
    assert visitor.get("/?token=").status_code == 401
    assert visitor.post("/?token=s3cret", content=b"{}", headers=JSON).status_code == 401
    entered = visitor.get("/?a=1&token=s3cret&b=%26")
    assert entered.status_code == 303 and entered.headers["location"] == "/?a=1&b=%26"
    cookie = entered.headers["set-cookie"].lower()
    assert "fmsel-8000=s3cret" in cookie and "httponly" in cookie and "samesite=lax" in cookie
    assert visitor.get("/").status_code == 200
    assert visitor.post("/", content=b"{}", headers=JSON).status_code == 200
    evil = JSON | {"origin": "http://evil.example"}
    assert visitor.post("/", content=b"{}", headers=evil).status_code == 403


@pytest.mark.parametrize(
    ("cookie", "status"),
    [
        ("fmsel-8000=s3cret", 200),
        ("a(b=c; odd; other[x]={}; fmsel-8000=s3cret", 200),  # of other programs at this host
        ("fmsel-8001=s3cret", 401),
        ("fmsel-8000=s3cre", 401),
        ("fmsel-8000=", 401),
        ("fmsel-8000=\u00e9", 401),
    ],
)
def test_cookies_of_others_neither_help_nor_harm(cookie: str, status: int) -> None:
    response = client(SHARED).get("/", headers={b"cookie": cookie.encode("latin-1")})
    assert response.status_code == status


@pytest.mark.parametrize("path", ["//evil.example/", "/%2fevil.example/", "/\\evil.example/"])
def test_the_way_in_leads_nowhere_else(path: str) -> None:
    there = client(SHARED).get("http://127.0.0.1:8000" + path + "?token=s3cret")
    assert there.status_code == 303
    assert urlsplit(there.headers["location"]).netloc == ""
    assert not there.headers["location"].startswith(("//", "/\\"))


def test_every_server_that_others_reach_has_a_token_of_its_own() -> None:
    tokens = {Access.to("0.0.0.0", 1).token for _ in range(5)}
    assert len(tokens) == 5 and all(token and len(token) >= 20 for token in tokens)
    assert Access.to("127.0.0.9", 1).token is None and Access.to("::1", 1).token is None
    assert Access.to("::", 1).token is not None
    url = urlsplit(Access("0.0.0.0", 80, "abc").url)
    assert parse_qsl(url.query) == [("token", "abc")]
    assert url.hostname not in ("0.0.0.0", None)
    for host in ("localhost", "example.org", ""):
        with pytest.raises(OptionError, match="--host must be an IP address"):
            Access.to(host, 1)


def test_ports_are_free_or_refused_with_a_sentence() -> None:
    listener, access = listen("127.0.0.1", 0)
    with listener:
        assert access.port == listener.getsockname()[1] > 0
        with pytest.raises(OptionError, match=f"port {access.port} .*; leave --port out"):
            listen("127.0.0.1", access.port)
    with pytest.raises(OptionError, match=r"--port must be 0 .* or in 1\.\.65535, got 65536"):
        listen("127.0.0.1", 65536)
    with pytest.raises(OptionError, match=r"cannot serve at 192\.0\.2\.1"):
        listen("192.0.2.1", 0)


def test_a_page_has_its_port_again_unless_that_is_taken() -> None:
    wish = stable_port("/a/random-answers.jsonl")
    assert wish == stable_port("/a/random-answers.jsonl") and wish in range(49152, 65536)
    assert len({stable_port(str(number)) for number in range(1000)}) > 900
    assert stable_port("\udc80") > 0  # a file name that is no text
    free, access = listen("127.0.0.1", 0)
    wish = access.port
    free.close()
    with listen("127.0.0.1", 0, wish)[0] as listener:
        assert listener.getsockname()[1] == wish
        other, access = listen("127.0.0.1", 0, wish)
        with other:
            assert access.port not in (0, wish)
        with pytest.raises(OptionError, match=f"port {wish} "):
            listen("127.0.0.1", wish, wish)
    with pytest.raises(OptionError, match=r"cannot serve at 192\.0\.2\.1, port 0"):
        listen("192.0.2.1", 0, wish)


SERVER = """
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from fmsel.serving import listen, secure_app, serve
listener, access = listen("127.0.0.1", 0)
app = secure_app([Route("/", lambda request: PlainTextResponse("here"))], access)
print(access.url, flush=True)
serve(app, listener)
print("saved")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_serving_and_lets_the_caller_go_on(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert urlopen(url, timeout=30).read() == b"here"
        process.send_signal(number)
        assert process.stdout.read() == "saved\n"
    assert process.returncode == 0
