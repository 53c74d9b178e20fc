"""Events of a client, read within bounds.

`wyoming.event.async_read_event` reads whatever length a header states, and ends on a damaged one with any of six exceptions or with
the same `None` as at the end of the stream; so events are read here, and written by the package.
"""

import asyncio
import json
import re
from typing import Any

from wyoming.event import Event

from .limits import Refusal, Share

LONGEST_LINE = 65_536  # bytes of a header, and of the data after it
LARGEST_PAYLOAD = 4_194_304  # bytes of an audio chunk: two minutes of 16 kHz, 16 bits, mono
PIECE = 65_536  # bytes that are held for a client before they have come
_HTTP = re.compile(rb"[A-Z]{3,8} \S+ HTTP/\d")
_TLS_HANDSHAKE = b"\x16\x03"


class HttpRequest(Refusal):
    """A browser, or another client of the web, on a port that is not of the web."""

    def __init__(self) -> None:
        super().__init__("not-wyoming", "an HTTP request; this port speaks Wyoming, not HTTP")


async def read_event(reader: asyncio.StreamReader, share: Share) -> Event | None:
    """The next event, or None at the end of the stream.

    Its data and payload are held in `share`, piece by piece as they come, so that whatever a header promises takes little room from
    others; the caller settles it.

    Raises:
        Refusal: not an event, or one larger than the bounds.
        asyncio.IncompleteReadError: the stream ends within an event.
    """
    try:
        line = await reader.readline()
    except ValueError:  # asyncio's word for a line longer than the reader's limit
        raise Refusal(
            "malformed", f"a header of more than {LONGEST_LINE} bytes, or no Wyoming client"
        ) from None
    if not line:
        return None
    if _HTTP.match(line):
        raise HttpRequest
    if line.startswith(_TLS_HANDSHAKE):
        raise Refusal("not-wyoming", "a TLS handshake; Wyoming is not encrypted, connect without TLS")
    if not line.endswith(b"\n"):
        raise asyncio.IncompleteReadError(line, None)
    header = _parse(line, "header")
    kind = header.get("type")
    if not isinstance(kind, str):
        raise Refusal("malformed", "an event without a type")
    data = header.get("data")
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise Refusal("malformed", f"{_quoted(kind)}: 'data' is not an object")
    if length := _length(header, "data_length", LONGEST_LINE, "send fewer names and terms"):
        data = data | _parse(await _read(reader, length, share), "data")
    payload = None
    if length := _length(header, "payload_length", LARGEST_PAYLOAD, "send the audio in smaller chunks"):
        payload = await _read(reader, length, share)
    return Event(kind, data, payload)


async def _read(reader: asyncio.StreamReader, length: int, share: Share) -> bytes:
    pieces = []
    while length:
        size = min(length, PIECE)
        share.grow(size)
        pieces.append(await reader.readexactly(size))
        length -= size
    return b"".join(pieces)


def _parse(text: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Refusal("malformed", f"{what} is not JSON; this port speaks Wyoming") from None
    if not isinstance(value, dict):
        raise Refusal("malformed", f"{what} is not a JSON object; this port speaks Wyoming")
    return value


def _length(header: dict[str, Any], name: str, most: int, advice: str) -> int:
    value = header.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Refusal("malformed", f"'{name}' is not a number of bytes")
    if value > most:
        raise Refusal("too-large", f"'{name}' is more than {most} bytes; {advice}")
    return value


def is_unicode(text: str) -> bool:
    """Whether it can be sent and encoded: JSON has escapes for halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _quoted(text: str) -> str:
    """Text of a client for a message: printable, on one line and not too long."""
    return ascii(text[:40])
