"""`Access`: from where a served page may be opened, and by whom."""

import ipaddress
import re
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from fmsel.errors import OptionError

LOOPBACK = "127.0.0.1"
ANY = {"0.0.0.0": "192.0.2.1", "::": "2001:db8::1"}  # every interface; an address far away
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(:[0-9]{1,5})?", re.IGNORECASE)


@dataclass(frozen=True)
class Access:
    """One address and who may read what is served there.

    A page on the loopback interface is open to every process of this machine. Any other address
    can be reached by others, so a visitor needs the token there.

    Attributes:
        host: the address that is listened at, such as 127.0.0.1 or 0.0.0.0.
        port: the port that is listened at.
        token: what a visitor must know; None on the loopback interface.
    """

    host: str
    port: int
    token: str | None

    @classmethod
    def to(cls, host: str, port: int) -> "Access":
        """With a new token where the address is not loopback.

        Raises:
            OptionError: `host` is no IP address.
        """
        return cls(host, port, None if is_loopback(host) else secrets.token_urlsafe(16))

    @property
    def url(self) -> str:
        """What to open in a browser, the token in it."""
        host = _own_address(self.host) if self.host in ANY else self.host
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    @property
    def cookie(self) -> str:
        """Name of the cookie with the token; cookies are shared by all ports of a host."""
        return f"fmsel-{self.port}"

    def allows_host(self, header: str) -> bool:
        """Whether a Host header names this server.

        A page of another site that lets its own name point here is told by that name: it is
        neither one of this machine nor an address. The port tells nothing, since the near end of
        a tunnel has its own.
        """
        found = HOST.fullmatch(header)
        if found is None:
            return False
        name = found[1].removeprefix("[").removesuffix("]").lower()
        return name in self._names or (self.token is not None and _is_address(name))

    def knows(self, token: str) -> bool:
        """Whether this is the token; compared in constant time."""
        return self.token is None or secrets.compare_digest(
            self.token.encode(), token.encode(errors="replace")
        )

    @cached_property
    def _names(self) -> frozenset[str]:
        if self.token is None:
            return frozenset({"localhost", self.host})
        return frozenset({"localhost", socket.gethostname().lower(), socket.getfqdn().lower()})


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    Raises:
        OptionError: no IP address.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise OptionError(
            f"--host must be an IP address, such as {LOOPBACK} or 0.0.0.0, got {host!r}"
        ) from None


def _own_address(host: str) -> str:
    """This machine's address on the way to others, or its name where there is no such way."""
    with (
        suppress(OSError),
        socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
        ) as probe,
    ):
        probe.connect((ANY[host], 9))  # of a datagram socket: picks the route and sends nothing
        return str(probe.getsockname()[0])
    return socket.gethostname()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
