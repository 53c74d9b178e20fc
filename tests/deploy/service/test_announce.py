"""The service is found in the local network, as long as it is there."""

import asyncio
import logging
import socket
import sys

import pytest

from edgewhisper.deploy.service.address import Address
from edgewhisper.deploy.service.announce import announced
from edgewhisper.errors import MissingDependencyError


async def ports_found() -> set[int | None]:
    """The ports of Wyoming services that answer within a second."""
    from zeroconf import ServiceBrowser
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    found: set[str] = set()
    network = AsyncZeroconf()
    browser = ServiceBrowser(network.zeroconf, "_wyoming._tcp.local.", [lambda name, **_: found.add(name)])
    await asyncio.sleep(1)
    infos = [AsyncServiceInfo("_wyoming._tcp.local.", name) for name in found]
    ports = {info.port for info in infos if await info.async_request(network.zeroconf, 2_000)}
    browser.cancel()
    await network.async_close()
    return ports


@pytest.mark.slow
def test_the_service_is_found_while_it_runs() -> None:
    pytest.importorskip("zeroconf")

    async def look() -> list[set[int | None]]:
        async with announced(Address("0.0.0.0", 54_321)):
            found = await ports_found()
        return [found, await ports_found()]

    during, after = asyncio.run(look())
    assert 54_321 in during
    assert 54_321 not in after


async def announce(host: str) -> None:
    async with announced(Address(host, 54_321)):
        pass


def test_a_network_that_does_not_let_it_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("zeroconf")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with caplog.at_level(logging.WARNING):
        asyncio.run(announce("here.example"))
    assert "cannot announce the service (Network is unreachable)" in caplog.text


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(MissingDependencyError, match=r"pip install edgewhisper\[zeroconf\]"):
        asyncio.run(announce("127.0.0.1"))
