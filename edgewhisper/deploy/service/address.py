"""Where the service listens."""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from edgewhisper.errors import ServiceError, UsageError

ClientConnected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_BACKLOG = 128  # connections that the system takes before the service does


@dataclass(frozen=True)
class Address:
    """A host and a TCP port; port 0 is any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def parse_address(uri: str) -> Address:
    """`tcp://HOST:PORT` -> address.

    Raises:
        UsageError: something else.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme != "tcp" or not host or port is None or parts.path or parts.query or parts.username:
        raise UsageError(f"--wyoming {uri}: give tcp://HOST:PORT, such as tcp://0.0.0.0:10300")
    return Address(host, port)


async def bind(address: Address, client_connected: ClientConnected, limit: int) -> asyncio.Server:
    """A server that has the port and does not listen yet; `limit` is the longest line in bytes.

    Raises:
        ServiceError: the port is in use or not allowed, or the address is not of this machine.
    """
    try:
        return await asyncio.start_server(
            client_connected, address.host, address.port, limit=limit, backlog=_BACKLOG, start_serving=False
        )
    except OSError as error:
        raise ServiceError(f"{address}: {_reason(error)}") from None
    except (OverflowError, UnicodeError):
        raise ServiceError(f"{address}: not a host's name or address; give another with --wyoming") from None


async def listen(server: asyncio.Server, address: Address) -> None:
    """Take connections from now on.

    Raises:
        ServiceError: somebody else has begun to listen since the port was bound.
    """
    try:
        await server.start_serving()
    except OSError as error:
        raise ServiceError(f"{address}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                "the port is in use; stop what uses it ('ss -ltnp' names it), or give another with --wyoming"
            )
        case errno.EADDRNOTAVAIL:
            return "no address of this machine; give one, or 0.0.0.0 for all, with --wyoming"
        case errno.EACCES | errno.EPERM:
            return "not allowed to listen there; give a port of 1024 or more, or allow it (SocketBindAllow= of the unit)"
        case _:
            return f"cannot listen there ({error.strerror or error}); give another with --wyoming"
