"""Announces the service in the local network, so that Home Assistant finds it by itself (zeroconf, mDNS)."""

import contextlib
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator

from edgewhisper.errors import MissingDependencyError

from .address import Address

_LOG = logging.getLogger("edgewhisper")
_TYPE = "_wyoming._tcp.local."
_LONGEST_NAME = 63  # bytes of a label in DNS


@contextlib.asynccontextmanager
async def announced(address: Address) -> AsyncIterator[None]:
    """The service is announced while the block runs, and taken back after it; where the network does not let it, the log says so.

    Raises:
        MissingDependencyError: zeroconf is not installed.
    """
    try:
        from zeroconf import Error
        from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
    except ImportError:
        raise MissingDependencyError(
            "--zeroconf needs the package zeroconf; run 'pip install edgewhisper[zeroconf]'"
        ) from None
    async with contextlib.AsyncExitStack() as stack:
        try:
            addresses = _addresses(address.host)
            name = f"edgewhisper-{socket.gethostname()}".replace(".", "-")[:_LONGEST_NAME]
            network = AsyncZeroconf()
            stack.push_async_callback(network.async_close)
            info = AsyncServiceInfo(
                *(_TYPE, f"{name}.{_TYPE}"),
                port=address.port,
                parsed_addresses=addresses,
                server=f"{name}.local.",
            )
            await network.async_register_service(info, allow_name_change=True)
            _LOG.info("announced as %s at %s", info.name, ", ".join(addresses) or "no address")
        except (OSError, Error) as error:
            reason = str(error) or type(error).__name__
            _LOG.warning("--zeroconf: cannot announce the service (%s); clients need its address", reason)
        yield


def _addresses(host: str) -> list[str]:
    """The addresses under which others reach what listens at `host`."""
    if host not in ("0.0.0.0", "::"):
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    import ifaddr  # which zeroconf brings along

    every = [
        ip.ip if isinstance(ip.ip, str) else ip.ip[0] for card in ifaddr.get_adapters() for ip in card.ips
    ]
    return [text for text in every if _is_reached(ipaddress.ip_address(text), host == "::")]


def _is_reached(address: ipaddress.IPv4Address | ipaddress.IPv6Address, with_ipv6: bool) -> bool:
    return not address.is_loopback and not address.is_link_local and (with_ipv6 or address.version == 4)
