"""One client: its events in, its answers out, until it goes or is refused."""

import asyncio
import contextlib
import dataclasses
import logging
from typing import Any

from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, Eventable, async_write_event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from edgewhisper.artifact import Manifest
from edgewhisper.errors import UsageError
from edgewhisper.runtime.language import language_code
from edgewhisper.runtime.memory import return_freed_memory
from edgewhisper.runtime.options import DecodingOptions

from .events import HttpRequest, is_unicode, read_event
from .expected import with_expected
from .limits import Limits, Refusal, Share
from .metrics import Metrics
from .speech import Speech, raw_format
from .worker import Begun, Ended, Job, Worker

_LOG = logging.getLogger("edgewhisper")
_LINGER_SECONDS = 10.0  # a refused client that still sends is listened to for so long, that it can read why
_LINGER_AT_END_SECONDS = 1.0
_LARGE = 1_000_000  # bytes of audio, half a minute; of more, the C library keeps what was freed
_HTTP_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"This is edgewhisper, which speaks the Wyoming protocol: add it to Home Assistant with the Wyoming integration.\n"
)


@dataclasses.dataclass(frozen=True)
class Offer:
    """What the service has for its clients."""

    manifest: Manifest
    options: DecodingOptions  # where a client does not say otherwise
    info: Info
    limits: Limits
    worker: Worker
    metrics: Metrics
    log_text: bool  # whether the log says what was said


class Connection:
    """One client.

    Attributes:
        is_answering: whether a request of it waits or is being transcribed.
    """

    def __init__(
        self, offer: Offer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, share: Share
    ) -> None:
        """`share` is what the client may hold of the memory."""
        self.is_answering = False
        self._offer = offer
        self._reader = reader
        self._writer = writer
        self._share = share
        self._options = offer.options
        self._speech: Speech | None = None
        self._is_ending = False
        peer = writer.get_extra_info("peername")
        self.name = f"{peer[0]}:{peer[1]}" if peer else "a client that has gone"

    async def serve(self) -> None:
        """Answer until the client goes; never raises but when cancelled."""
        try:
            while not self._is_ending and (event := await self._next_event()) is not None:
                await self._handle(event)
                self._share.settle(self._speech.n_bytes if self._speech else 0)
        except Refusal as refusal:
            await self._refuse(refusal)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            _LOG.debug("%s: gone", self.name)
        except Exception:
            self._offer.metrics.failed += 1
            _LOG.exception("error: unexpected, with client %s; please report it", self.name)
        finally:
            self._share.settle(0)
            self._speech = None
            self._close()
            if self._share.most > _LARGE:
                return_freed_memory()

    async def turn_away(self, reason: str) -> None:
        """Tell the client that there is no room for it."""
        try:
            await self._refuse(Refusal("busy", reason))
        finally:
            self._close()

    def end_after_answer(self) -> None:
        """Take no further event."""
        self._is_ending = True

    async def _refuse(self, refusal: Refusal) -> None:
        """Say why, and wait until the client has read it: closing a socket with unread input takes the answer back."""
        if refusal.code == "failed":
            self._offer.metrics.failed += 1
        else:
            self._offer.metrics.refused += 1
            _LOG.warning("%s: refused (%s): %s", self.name, refusal.code, refusal.text)
        self._speech = None
        self._share.settle(0)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_LINGER_AT_END_SECONDS if self._is_ending else _LINGER_SECONDS):
                if isinstance(refusal, HttpRequest):
                    self._writer.write(_HTTP_ANSWER)
                else:
                    await async_write_event(Error(refusal.text, refusal.code).event(), self._writer)
                self._writer.write_eof()
                while await self._reader.read(65_536):
                    pass

    def _close(self) -> None:
        if self._writer.transport.get_write_buffer_size():
            self._writer.transport.abort()  # the client does not read; it would be waited for without an end
        self._writer.close()

    async def _next_event(self) -> Event | None:
        try:
            async with asyncio.timeout(self._offer.limits.timeout):
                return await read_event(self._reader, self._share)
        except TimeoutError:
            if self._speech is None:
                return None
            seconds = self._offer.limits.timeout
            raise Refusal(
                "timeout", f"no whole event for {seconds:g} s although the audio has not ended"
            ) from None

    async def _send(self, answer: Eventable) -> None:
        """Raises TimeoutError where the client does not read."""
        async with asyncio.timeout(self._offer.limits.timeout):
            await async_write_event(answer.event(), self._writer)

    async def _handle(self, event: Event) -> None:
        """Events that are not for a speech recogniser are ignored, as Wyoming wants it."""
        match event.type:
            case kind if AudioChunk.is_type(kind):
                raw = raw_format(event.data)
                speech = self._begin(event) if self._speech is None else self._speech
                speech.append(raw, event.payload or b"")
            case kind if AudioStart.is_type(kind):
                self._begin(event)
            case kind if AudioStop.is_type(kind):
                await self._answer()
            case kind if Transcribe.is_type(kind):
                self._options = self._options_for(event.data)
            case kind if Describe.is_type(kind):
                await self._send(self._offer.info)
            case kind if Ping.is_type(kind):
                await self._send(Pong(_text(event.data, "text")))

    def _begin(self, event: Event) -> Speech:
        self._speech = Speech(raw_format(event.data), self._offer.limits.audio_seconds)
        self._offer.worker.prepare()
        return self._speech

    def _options_for(self, data: dict[str, Any]) -> DecodingOptions:
        name, model = _text(data, "name"), self._offer.manifest.model.name
        if name and name != model:
            raise Refusal("unknown-model", f"no model {name[:40]!a} here; the model is {model}")
        options = with_expected(self._offer.options, data, self._offer.manifest.dimensions)
        language = _text(data, "language")
        if not language or language == "auto":
            return options
        try:
            code = language_code(_without_region(language), self._offer.manifest.tokens)
        except UsageError as error:
            raise Refusal("unknown-language", str(error)) from None
        return dataclasses.replace(options, language=code)

    async def _answer(self) -> None:
        speech, self._speech = self._speech, None
        if speech is None:
            raise Refusal("malformed", "audio-stop without audio")
        options, self._options = self._options, self._offer.options
        if speech.is_empty:
            for answer in (TranscriptStart(), Transcript(""), TranscriptStop()):
                await self._send(answer)
            return
        self.is_answering = True
        try:
            await self._transcribe(speech, options)
        finally:
            self.is_answering = False

    def _is_there(self) -> bool:
        """Whether somebody waits for the answer; who has closed the connection's other side does not."""
        return not (self._writer.is_closing() or self._reader.at_eof())

    async def _transcribe(self, speech: Speech, options: DecodingOptions) -> None:
        job = Job(speech, options, self._is_there)
        self._offer.worker.submit(job)
        pieces: list[str] = []
        while not isinstance(arrival := await job.arrivals.get(), Ended):
            match arrival:
                case Exception():
                    raise arrival
                case Begun():
                    await self._send(TranscriptStart(language=arrival.language))
                case str():
                    pieces.append(arrival)
                    await self._send(TranscriptChunk(arrival))
        text = "".join(pieces).strip()
        said = f": {text}" if self._offer.log_text else ""
        _LOG.info(
            "%s: %.1f s of audio in %.2f s, waited %.2f s, language %s%s",
            *(self.name, speech.seconds, arrival.seconds, arrival.waited, arrival.language, said),
        )
        # In this order: Wyoming's streaming events end after the transcript of clients that do not know them.
        await self._send(Transcript(text, language=arrival.language))
        await self._send(TranscriptStop())


def _text(data: dict[str, Any], name: str) -> str | None:
    value = data.get(name)
    if value is None or (isinstance(value, str) and is_unicode(value)):
        return value
    raise Refusal("malformed", f"'{name}' is not text")


def _without_region(language: str) -> str:
    """ "de-CH" and "de_CH" are "de" to Whisper."""
    return language.replace("_", "-").partition("-")[0]
