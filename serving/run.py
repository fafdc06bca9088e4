"""`listen` and `serve`: from an address to a page that is served until it is stopped."""

import signal
import socket
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256

import uvicorn
from starlette.applications import Starlette

from fmsel.errors import OptionError
from fmsel.serving.access import Access

BACKLOG = 128  # connections that wait to be accepted
PATIENCE = 5  # seconds that requests under way have once the server is stopped
PORTS = range(2**16)
DYNAMIC = range(49152, 2**16)  # ports that belong to no service


def stable_port(name: str) -> int:
    """A port that is the same for the same name, so that a browser knows the page again.

    What a browser keeps for a page, it keeps for its port.
    """
    digest = sha256(name.encode(errors="surrogateescape")).digest()
    return DYNAMIC[int.from_bytes(digest) % len(DYNAMIC)]


def listen(host: str, port: int, preferred: int = 0) -> tuple[socket.socket, Access]:
    """Hold an address before anything slow begins.

    Args:
        host: an IP address of this machine.
        port: 0 = `preferred`, or any free one where that is taken.
        preferred: 0 = none.
    Raises:
        OptionError: no IP address of this machine, or the port is taken or out of range.
    """
    asked = Access.to(host, port)  # checks the host
    if port not in PORTS:
        raise OptionError(f"--port must be 0 (a free one) or in 1..{PORTS[-1]}, got {port}")
    if not port and preferred:
        with suppress(OptionError):
            return listen(host, preferred)
    listener = None
    try:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise OptionError(
            f"cannot serve at {host}, port {port} ({error.strerror or error}); leave --port out "
            "for a free one, or pass another --host"
        ) from error
    return listener, Access(host, listener.getsockname()[1], asked.token)


def serve(app: Starlette, listener: socket.socket, *, open_at: str | None = None) -> uvicorn.Server:
    """Serve until Ctrl-C, SIGTERM, or until somebody sets `should_exit` of the server.

    Requests that have begun are finished, if that takes no longer than `PATIENCE`. The signal that
    ends it is not given on: it returns, so that the caller can save and report.

    Args:
        open_at: an address for the browser; None = leave it to the person.
    Returns:
        The server that ran; `app.state.server` held it meanwhile.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=PATIENCE,
    )
    server = uvicorn.Server(config)
    app.state.server = server
    if open_at is not None:
        webbrowser.open(open_at)
    try:
        with _stopped_by_signals(server):
            server.run(sockets=[listener])
    finally:
        listener.close()
    return server


@contextmanager
def _stopped_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """Let signals stop the server and nothing else.

    While it runs it handles them itself; they come here before that, and once more afterwards,
    when it gives on what stopped it.
    """

    def stop(number: int, frame: object) -> None:
        server.should_exit = True

    if threading.current_thread() is not threading.main_thread():  # signals go to that one
        yield
        return
    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
