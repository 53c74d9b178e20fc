"""Announces the service in the local network, so that Home Assistant finds it by itself (zeroconf, mDNS)."""

import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator

from edgewhisper.errors import MissingDependencyError, ServiceError

from .address import Address

_TYPE = "_wyoming._tcp.local."
_LONGEST_NAME = 63  # bytes of a label in DNS


@contextlib.asynccontextmanager
async def announced(address: Address) -> AsyncIterator[None]:
    """The service is announced while the block runs, and taken back after it.

    Raises:
        MissingDependencyError: zeroconf is not installed.
        ServiceError: the network does not let it.
    """
    try:
        from zeroconf import Error
        from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
    except ImportError:
        raise MissingDependencyError(
            "--zeroconf needs zeroconf; run 'pip install edgewhisper[zeroconf]'"
        ) from None
    name = f"edgewhisper-{socket.gethostname()}".replace(".", "-")[:_LONGEST_NAME]
    info = AsyncServiceInfo(
        _TYPE,
        f"{name}.{_TYPE}",
        port=address.port,
        parsed_addresses=_addresses(address.host),
        server=f"{name}.local.",
    )
    try:
        network = AsyncZeroconf()
    except OSError as error:
        raise _not_possible(error) from None
    try:
        try:
            await network.async_register_service(info, allow_name_change=True)
        except (OSError, Error) as error:
            raise _not_possible(error) from None
        yield
    finally:
        await network.async_close()


def _not_possible(error: Exception) -> ServiceError:
    return ServiceError(
        f"--zeroconf: cannot announce the service ({str(error) or type(error).__name__}); leave it out"
    )


def _addresses(host: str) -> list[str]:
    """The addresses under which others reach what listens at `host`."""
    if host not in ("0.0.0.0", "::"):
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    import ifaddr

    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            parsed = ipaddress.ip_address(text)
            if not parsed.is_loopback and (parsed.version == 4 or host == "::") and not parsed.is_link_local:
                found.append(text)
    return found
