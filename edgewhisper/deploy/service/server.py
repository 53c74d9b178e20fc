"""The service: listens, loads, answers, and ends when it is told to."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass

from edgewhisper.artifact import Manifest
from edgewhisper.runtime.options import DecodingOptions
from edgewhisper.runtime.transcriber import Transcriber

from .address import Address, bind, listen
from .announce import announced
from .connection import Connection, Offer
from .events import LONGEST_LINE
from .info import describe
from .limits import Budget, Limits, Share
from .metrics import Metrics
from .model import Model
from .notify import Notifier
from .worker import Worker

_LOG = logging.getLogger("edgewhisper")
# Of one window. The slowest that is known to be in order, a large model at every temperature on a slow board, takes minutes.
_STUCK_SECONDS = 600.0


@dataclass(frozen=True)
class Settings:
    """How to serve."""

    address: Address
    load_first: bool = True  # load the model before the first client can come, else for its first audio
    idle_unload: float = 300.0  # seconds without a request after which the model is freed; 0 is never
    zeroconf: bool = False
    log_text: bool = False


class Service:
    """Serves one artifact until SIGTERM or SIGINT."""

    def __init__(
        self,
        manifest: Manifest,
        load: Callable[[], Transcriber],
        options: DecodingOptions,
        settings: Settings,
        limits: Limits,
    ) -> None:
        """Nothing happens yet.

        Args:
            manifest: of the artifact.
            load: loads it.
            options: how to decode where a client does not say; the model has them.
            settings: how to serve.
            limits: of what clients may ask.
        """
        self._manifest = manifest
        self._options = options
        self._settings = settings
        self._limits = limits
        self._model = Model(load)
        self._metrics = Metrics()
        self._budget = Budget(limits.buffered_bytes)
        self._notifier = Notifier()
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Serve.

        Raises:
            ServiceError: the port cannot be had.
            MissingDependencyError: zeroconf is asked for and not installed.
            ArtifactError: an artifact that cannot be loaded, where it is loaded first.
        """
        loop = asyncio.get_running_loop()
        server = await bind(self._settings.address, self._connected, LONGEST_LINE)
        worker = Worker(self._model, self._metrics, self._limits.waiting, self._settings.idle_unload)
        self._offer = Offer(
            *(self._manifest, self._options, describe(self._manifest), self._limits, worker, self._metrics),
            self._settings.log_text,
        )
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(ending, self._ended.set)
        loop.add_signal_handler(signal.SIGUSR1, lambda: _LOG.info("metrics: %s", self._status()))
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(worker.stop)
            stack.callback(server.close)
            if self._settings.load_first:
                await worker.load()
            address = Address(self._settings.address.host, server.sockets[0].getsockname()[1])
            if self._settings.zeroconf:
                await stack.enter_async_context(announced(address))
            await listen(server, address)
            _LOG.info("serving %s on %s", self._manifest.model.name, address)
            self._notifier.send(READY=1, STATUS=self._status())
            if (seconds := self._notifier.watchdog_seconds) is not None:
                self._feed_watchdog(worker, seconds / 2)
            await self._ended.wait()
            self._notifier.send(STOPPING=1)
            _LOG.info("ending: %s", self._status())
            server.close()
            await asyncio.gather(worker.stop(), self._end_connections())

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = Connection(self._offer, reader, writer, Share(self._budget))
        is_admitted = self._metrics.clients < self._limits.clients
        if not is_admitted and len(self._connections) >= 2 * self._limits.clients:
            writer.transport.abort()  # so many that not even a reason is given
            return
        self._connections[task] = connection
        self._metrics.clients += is_admitted
        try:
            if is_admitted:
                await connection.serve()
            else:
                await connection.turn_away(
                    f"{self._metrics.clients} clients are connected; wait a little, then come back"
                )
        except asyncio.CancelledError:  # at the end of the service
            pass
        finally:
            del self._connections[task]
            self._metrics.clients -= is_admitted
            self._notifier.send(STATUS=self._status())

    async def _end_connections(self) -> None:
        """Close idle connections, and those that are answered as soon as they are."""
        for task, connection in list(self._connections.items()):
            connection.end_after_answer()
            if not connection.is_answering:
                task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _status(self) -> str:
        return self._metrics.line(self._model.is_loaded)

    def _feed_watchdog(self, worker: Worker, seconds: float) -> None:
        if worker.is_stuck(_STUCK_SECONDS):
            _LOG.error(
                "error: a window takes longer than %.0f s; systemd's watchdog is left alone", _STUCK_SECONDS
            )
        else:
            self._notifier.send(WATCHDOG=1)
        asyncio.get_running_loop().call_later(seconds, self._feed_watchdog, worker, seconds)
