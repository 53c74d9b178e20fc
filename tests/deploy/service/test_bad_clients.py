"""Clients that are broken, hostile or of another protocol: each is told, and none takes the service down."""

import asyncio
import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event

from edgewhisper.deploy.service.events import LARGEST_PAYLOAD, LONGEST_LINE, PIECE, read_event
from edgewhisper.deploy.service.limits import Budget, Refusal, Share
from edgewhisper.deploy.service.speech import raw_format
from tests.deploy.service.servers import (
    PATIENCE,
    Samples,
    Server,
    answers,
    read_samples,
    speech_events,
    text_of,
    wait_until,
)

START: dict[str, Any] = {"type": "audio-start", "data": {"rate": 16_000, "width": 2, "channels": 1}}
CHUNK = START | {"type": "audio-chunk"}


def line(header: object) -> bytes:
    return json.dumps(header).encode() + b"\n"


def said(server: Server, data: bytes) -> bytes:
    """All that the service answers to these bytes, until it ends the connection."""
    with server.connect() as client:
        with contextlib.suppress(ConnectionError):  # it may end before all is sent
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        return received(client)


def received(client: socket.socket) -> bytes:
    """All that comes until the other side ends."""
    data = b""
    while block := client.recv(65_536):
        data += block
    return data


def error_of(answer: bytes) -> dict[str, str]:
    header, _, data = answer.partition(b"\n")
    assert json.loads(header)["type"] == "error", answer
    error: dict[str, str] = json.loads(data)
    return error


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"hello\n", "malformed", "not JSON"),
        (b"\xff\xfe\x00\n", "malformed", "not JSON"),
        (b"[" * 60_000 + b"\n", "malformed", "not JSON"),
        (b"9" * 10_000 + b"\n", "malformed", "not JSON"),
        (b"[]\n", "malformed", "not a JSON object"),
        (b"x" * (LONGEST_LINE * 3), "malformed", "a header of more than"),
        (line({}), "malformed", "without a type"),
        (line({"type": 5}), "malformed", "without a type"),
        (line({"type": "describe", "data": [1]}), "malformed", "'data' is not an object"),
        (line({"type": "describe", "data_length": "5"}), "malformed", "'data_length' is not a number"),
        (line({"type": "describe", "data_length": -1}), "malformed", "'data_length' is not a number"),
        (line({"type": "describe", "data_length": True}), "malformed", "'data_length' is not a number"),
        (line({"type": "describe", "data_length": 2}) + b"[]", "malformed", "data is not a JSON object"),
        (line({"type": "describe", "data_length": 10**12}), "too-large", "'data_length' is more than 65536 bytes; send fewer names"),
        (line(CHUNK | {"payload_length": 10**9}), "too-large", "in smaller chunks"),
        (line(CHUNK | {"payload_length": LARGEST_PAYLOAD + 1}), "too-large", "in smaller chunks"),
        (line({"type": "audio-start"}), "malformed", "'rate' is not a number"),
        (line({"type": "audio-start", "data": {"rate": 1e4, "width": 2, "channels": 1}}), "malformed", "'rate'"),
        (line({"type": "audio-start", "data": {"rate": 0, "width": 2, "channels": 1}}), "malformed", "0 Hz"),
        (line({"type": "audio-start", "data": {"rate": 9, "width": 7, "channels": 1}}), "malformed", "7 bytes a sample"),
        (line({"type": "audio-start", "data": {"rate": 9, "width": 2, "channels": 10**6}}), "malformed", "channels"),
        (line({"type": "audio-stop"}), "malformed", "audio-stop without audio"),
        (line({"type": "transcribe", "data": {"language": 5}}), "malformed", "'language' is not text"),
        (b'{"type": "ping", "data": {"text": "\\ud800"}}\n', "malformed", "'text' is not text"),
        (line({"type": "transcribe", "data": {"transcript_names": "Ada"}}), "malformed", "'transcript_names' is not a list of texts"),
        (line({"type": "transcribe", "data": {"transcript_terms": [["a"]]}}), "malformed", "'transcript_terms' is not a list"),
        (line({"type": "transcribe", "data": {"language": "fr"}}), "unknown-language", "choose one of: de, en"),
        (line({"type": "transcribe", "data": {"name": "large\nfake log line"}}), "unknown-model", "the model is demo"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", "not-wyoming", "TLS"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_with_a_reason(
    server: Server, data: bytes, code: str, words: str
) -> None:
    error = error_of(said(server, data))
    assert error["code"] == code
    assert words in error["text"]
    assert "\n" not in error["text"]
    assert f"refused ({code})" in server.wait_for_line(re.escape(error["text"]))
    assert server.is_well()


@pytest.mark.parametrize(
    "request_line", [b"GET / HTTP/1.1", b"POST /api/stt HTTP/1.0", b"OPTIONS * HTTP/1.1"]
)
def test_an_http_client_is_told_in_its_own_words(server: Server, request_line: bytes) -> None:
    answer = said(server, request_line + b"\r\nHost: here\r\nAccept: */*\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Wyoming protocol" in answer
    assert "HTTP request" in server.wait_for_line(r"refused \(not-wyoming\): an HTTP")
    assert server.is_well()


def test_audio_that_is_too_long_is_refused_before_its_end(server: Server) -> None:
    silence = bytes(16_000 * 2)
    events = [AudioStart(16_000, 2, 1).event(), *[AudioChunk(16_000, 2, 1, silence).event()] * 61]
    (error,) = asyncio.run(answers(server, events))
    assert error.data["code"] == "audio-too-long"
    assert error.data["text"].startswith("more than 60 s of audio")
    assert server.is_well()


def test_audio_that_changes_its_format_is_refused(server: Server) -> None:
    events = [AudioStart(16_000, 2, 1).event(), AudioChunk(48_000, 2, 2, bytes(400)).event()]
    (error,) = asyncio.run(answers(server, events))
    assert "from s16le:16000:1 to s16le:48000:2" in error.data["text"]


@pytest.mark.parametrize("rate", [1, 900, 2_000_000])
def test_rates_that_no_recorder_has_are_an_answer_too(server: Server, rate: int) -> None:
    events = [AudioStart(rate, 2, 1).event(), AudioChunk(rate, 2, 1, bytes(64)).event(), AudioStop().event()]
    (error,) = asyncio.run(answers(server, events))
    assert error.data["code"] == "malformed"
    assert f"a sample rate of {rate} Hz" in error.data["text"]
    assert server.is_well()


# Clients that go, or stay without a word


def half_an_event() -> bytes:
    return line(START) + line(CHUNK | {"payload_length": 3_200}) + bytes(1_000)


def test_half_open_connections_are_let_go(small_server: Server) -> None:
    started = time.monotonic()
    half = [b'{"type": "desc', line(START), half_an_event()]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(small_server.connect()) for _ in half]
        for client, data in zip(clients, half, strict=True):
            client.sendall(data)
        for client, data in zip(clients, half, strict=True):
            answer = received(client)
            assert (error_of(answer)["code"] if answer else "") == (
                "timeout" if b"audio-start" in data else ""
            )
    assert 2.5 < time.monotonic() - started < PATIENCE, "after --timeout 3"
    assert small_server.is_well()


@pytest.mark.parametrize("is_reset", [False, True])
def test_clients_that_go_in_mid_stream_leave_nothing(server: Server, speech: Path, is_reset: bool) -> None:
    request = b"".join(wire(event) for event in speech_events(read_samples(speech)))
    for share in (0.1, 0.5, 0.9, 1.0):
        client = server.connect()
        client.sendall(request[: int(len(request) * share)])
        if is_reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    assert text_of(asyncio.run(answers(server, speech_events(read_samples(speech)))))
    wait_until(lambda: "clients=0 running=0 waiting=0" in server.metrics())


def test_who_closes_while_waiting_is_not_transcribed(server: Server, long_speech: Samples) -> None:
    """Both close in good order: the one that is being transcribed, and the one that waits behind it."""
    wait_until(lambda: "clients=0 running=0 waiting=0" in server.metrics())
    before = transcribed(server)
    request = b"".join(wire(event) for event in speech_events(long_speech, chunk=64_000))
    with server.connect() as running, server.connect() as waiting:
        running.sendall(request)
        wait_until(lambda: "running=1" in server.metrics())
        waiting.sendall(request)
        wait_until(lambda: "running=1 waiting=1" in server.metrics())
    wait_until(lambda: "clients=0 running=0 waiting=0" in server.metrics())
    assert transcribed(server) == before


def transcribed(server: Server) -> str:
    return server.metrics().partition("transcribed=")[2].split()[0]


def send_forever(client: socket.socket, data: bytes) -> None:
    while True:
        client.sendall(data)


def wire(event: Event) -> bytes:
    data = json.dumps(event.data).encode()
    header = {"type": event.type, "data_length": len(data), "payload_length": len(event.payload or b"")}
    return line(header) + data + (event.payload or b"")


@pytest.mark.slow
def test_a_client_that_never_reads_is_let_go(small_server: Server) -> None:
    with small_server.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        with pytest.raises(ConnectionError):
            send_forever(client, line({"type": "describe"}) * 1_000)
    assert small_server.is_well()


# Bytes by chance


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one:
        yield one


async def first_event(data: bytes) -> Event | None:
    reader = asyncio.StreamReader(LONGEST_LINE)
    reader.feed_data(data)
    reader.feed_eof()
    return await read_event(reader, Share(Budget(10**6)))


NUMBERS = st.one_of(st.none(), st.booleans(), st.integers(-5, 40), st.floats(), st.text(max_size=3))
HEADERS = st.fixed_dictionaries(
    {"type": st.one_of(st.sampled_from(["audio-start", "describe", "transcribe"]), NUMBERS)},
    optional={"data": st.one_of(NUMBERS, st.dictionaries(st.text(max_size=4), NUMBERS)), "data_length": NUMBERS, "payload_length": NUMBERS},
)  # fmt: skip


@settings(max_examples=50)
@given(
    data=st.one_of(
        st.binary(max_size=200), st.tuples(HEADERS.map(line), st.binary(max_size=60)).map(b"".join)
    )
)
def test_any_bytes_are_an_event_or_a_refusal_or_end_too_early(runner: asyncio.Runner, data: bytes) -> None:
    with contextlib.suppress(Refusal, asyncio.IncompleteReadError):
        if (event := runner.run(first_event(data))) is not None:
            raw_format(event.data)


async def held_by_headers(count: int) -> int:
    """What so many clients hold that promise four megabytes each, and send nothing of them."""
    budget = Budget(LARGEST_PAYLOAD + count * PIECE)
    tasks = []
    for _ in range(count):
        reader = asyncio.StreamReader(LONGEST_LINE)
        reader.feed_data(line(CHUNK | {"payload_length": LARGEST_PAYLOAD}))
        tasks.append(asyncio.create_task(read_event(reader, Share(budget))))
    await asyncio.sleep(0.01)
    held = budget.used
    assert not any(task.done() for task in tasks)
    reader = asyncio.StreamReader(LONGEST_LINE)
    reader.feed_data(line(CHUNK | {"payload_length": LARGEST_PAYLOAD}) + bytes(LARGEST_PAYLOAD))
    event = await read_event(reader, Share(budget))
    assert event is not None
    assert event.payload == bytes(LARGEST_PAYLOAD), "others have room"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return held


def test_a_header_alone_takes_little_room_from_others(runner: asyncio.Runner) -> None:
    assert runner.run(held_by_headers(20)) == 20 * PIECE


EVENTS = st.lists(
    st.one_of(
        st.binary(max_size=100),
        HEADERS.map(line),
        st.sampled_from(
            [line(START), line(CHUNK | {"payload_length": 4}) + b"abcd", line({"type": "audio-stop"})]
        ),
    ),
    max_size=5,
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS)
def test_no_sequence_of_events_takes_the_service_down(server: Server, events: list[bytes]) -> None:
    said(server, b"".join(events))
    assert server.is_well()


# Bounds


def test_more_clients_than_allowed_are_told_to_come_back(small_server: Server) -> None:
    clients = [small_server.connect() for _ in range(3)]
    try:
        for client in clients:
            client.sendall(line({"type": "ping"}))
            assert client.recv(100)
        error = error_of(said(small_server, line({"type": "describe"})))
        assert (error["code"], error["text"][:24]) == ("busy", "3 clients are connected;")
    finally:
        for client in clients:
            client.close()
    wait_until(lambda: b"pong" in said(small_server, line({"type": "ping"})))


def test_audio_of_all_clients_together_is_bounded(small_server: Server) -> None:
    """Two clients hold 600 kB each of the megabyte that all may; the second is refused, and what both held is free again."""

    def held(size: int) -> bytes:
        return line(START) + line(CHUNK | {"payload_length": size}) + bytes(size)

    with small_server.connect() as first:
        first.sendall(held(600_000) + line({"type": "ping"}))
        assert b"pong" in first.recv(100)
        assert error_of(said(small_server, held(600_000)))["code"] == "busy"
    wait_until(lambda: said(small_server, held(900_000)) == b"")
    assert error_of(said(small_server, held(1_100_000)))["code"] == "too-large"


@pytest.mark.slow
def test_a_chunk_of_the_largest_size_does_not_stay_in_memory(server: Server) -> None:
    def send() -> None:
        said(server, line(START | {"data": {"rate": 48_000, "width": 4, "channels": 8}}) + b"".join(
            line({"type": "audio-chunk", "data": {"rate": 48_000, "width": 4, "channels": 8}, "payload_length": LARGEST_PAYLOAD})
            + bytes(LARGEST_PAYLOAD) for _ in range(4)
        ))  # fmt: skip

    send()
    before = server.resident_bytes()
    for _ in range(4):
        send()
    assert server.resident_bytes() - before < 5_000_000
    assert server.is_well()
