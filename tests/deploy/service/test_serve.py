"""Clients that do as Home Assistant does get the text."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping

from edgewhisper import DecodingOptions, Transcriber
from edgewhisper.runtime.short_window import usual_window
from tests.conftest import BundledRecording
from tests.deploy.service.servers import HOST, Samples, Server, answers, read_samples, speech_events, text_of


@pytest.fixture(scope="module")
def transcriber(demo_artifact: Path) -> Transcriber:
    return Transcriber(demo_artifact, threads=1)


def expected(transcriber: Transcriber, samples: NDArray[np.generic], rate: int = 16_000) -> str:
    audio = transcriber.manifest.audio
    is_long = len(samples) / rate > audio.n_frames * audio.hop_length / audio.sample_rate
    window = usual_window(transcriber.manifest)
    options = DecodingOptions(language="en", temperature=(0.0, 0.4), timestamps=is_long, window=window)
    segments, _ = transcriber.transcribe(samples, options, sample_rate=rate)
    return "".join(segment.text for segment in segments).strip()


def test_the_text_is_what_was_said(server: Server, recordings: Sequence[BundledRecording]) -> None:
    """Those of the bundled recordings that the model writes down as they were said, in both of its languages."""
    chosen = [each for each in recordings if each.path.stem in ("seen-000", "unseen-000", "german-002")]
    for recording in chosen:
        events = speech_events(read_samples(recording.path), recording.language)
        assert text_of(asyncio.run(answers(server, events))) == recording.text


def test_the_service_describes_its_model_and_its_languages(server: Server) -> None:
    (event,) = asyncio.run(answers(server, [Describe().event()], "info"))
    (program,) = Info.from_event(event).asr
    (model,) = program.models
    assert (program.name, program.installed, program.supports_transcript_streaming) == (
        "edgewhisper",
        True,
        True,
    )
    assert (model.name, model.installed, model.languages) == ("demo", True, ["de", "en"])


def test_a_ping_is_answered(server: Server) -> None:
    (pong,) = asyncio.run(answers(server, [Ping("here?").event()], "pong"))
    assert pong.data == {"text": "here?"}


def test_text_streams_and_the_whole_transcript_follows(
    server: Server, transcriber: Transcriber, recordings: Sequence[BundledRecording]
) -> None:
    samples = read_samples(next(each.path for each in recordings if each.group == "long"))
    events = asyncio.run(answers(server, speech_events(samples)))
    kinds = [event.type for event in events]
    n_chunks = kinds.count("transcript-chunk")
    assert n_chunks > 1
    assert kinds == ["transcript-start", *["transcript-chunk"] * n_chunks, "transcript", "transcript-stop"]
    pieces = "".join(event.data["text"] for event in events if event.type == "transcript-chunk")
    assert pieces.strip() == text_of(events) == expected(transcriber, samples)
    assert events[0].data["language"] == "en"


@pytest.mark.parametrize(
    ("given", "found"), [("de-CH", "de"), ("de_DE", "de"), ("German", "de"), (None, "en"), ("auto", "en")]
)
def test_languages_may_have_regions_and_are_detected_where_none_is_given(
    server: Server, speech: Path, given: str | None, found: str
) -> None:
    events = asyncio.run(answers(server, speech_events(read_samples(speech), given)))
    assert Transcript.from_event(events[-2]).language == found


def test_several_requests_may_share_a_connection(
    server: Server, transcriber: Transcriber, recordings: Sequence[BundledRecording]
) -> None:
    clips = [read_samples(each.path) for each in recordings if each.group == "seen"][:2]

    async def ask() -> list[str]:
        texts = []
        async with AsyncTcpClient(HOST, server.port) as client:
            for clip in clips:
                for event in speech_events(clip):
                    await client.write_event(event)
                while (event := await client.read_event()) is not None and event.type != "transcript-stop":
                    if Transcript.is_type(event.type):
                        texts.append(Transcript.from_event(event).text)
        return texts

    assert asyncio.run(ask()) == [expected(transcriber, clip) for clip in clips]


# Audio of any kind


def as_pcm(samples: Samples, width: int) -> bytes:
    match width:
        case 1:
            return ((samples >> 8) + 128).astype(np.uint8).tobytes()
        case 2:
            return samples.tobytes()
        case 3:
            return (samples.astype("<i4") << 16).view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
        case _:
            return (samples.astype("<i4") << 16).tobytes()


@pytest.mark.parametrize(
    ("rate", "width", "channels"),
    [
        (16_000, 1, 1),
        (16_000, 3, 1),
        pytest.param(16_000, 4, 2, marks=pytest.mark.slow),
        (48_000, 2, 2),
        pytest.param(8_000, 2, 1, marks=pytest.mark.slow),
    ],
)
def test_audio_of_any_format_is_understood(
    server: Server, speech: Path, transcriber: Transcriber, rate: int, width: int, channels: int
) -> None:
    samples = np.asarray(soxr.resample(read_samples(speech), 16_000, rate), np.int16)
    audio = as_pcm(np.repeat(samples, channels), width)
    odd = 10_001  # bytes: chunks end within samples
    events = [
        Transcribe(language="en").event(),
        AudioStart(rate, width, channels).event(),
        *(
            AudioChunk(rate, width, channels, audio[at : at + odd]).event()
            for at in range(0, len(audio), odd)
        ),
        AudioStop().event(),
    ]
    heard = (samples >> 8).astype(np.float32) / 128 if width == 1 else samples
    assert text_of(asyncio.run(answers(server, events))) == expected(transcriber, heard, rate)


def test_audio_needs_no_start_event(server: Server, speech: Path, transcriber: Transcriber) -> None:
    events = [event for event in speech_events(read_samples(speech)) if event.type != "audio-start"]
    assert text_of(asyncio.run(answers(server, events))) == expected(transcriber, read_samples(speech))


@pytest.mark.parametrize("audio", [b"", b"\0"])
def test_no_audio_is_no_text(server: Server, audio: bytes) -> None:
    events = [AudioStart(16_000, 2, 1).event(), AudioChunk(16_000, 2, 1, audio).event(), AudioStop().event()]
    answered = asyncio.run(answers(server, events))
    assert [event.type for event in answered] == ["transcript-start", "transcript", "transcript-stop"]
    assert text_of(answered) == ""


def test_what_a_request_asks_for_does_not_hold_for_the_next_one(server: Server, speech: Path) -> None:
    nothing = [Transcribe(language="de").event(), AudioStart(16_000, 2, 1).event(), AudioStop().event()]
    events = [*nothing, *speech_events(read_samples(speech))[1:]]

    async def ask() -> list[str | None]:
        async with AsyncTcpClient(HOST, server.port) as client:
            for event in events:
                await client.write_event(event)
            languages: list[str | None] = []
            while len(languages) < 2 and (event := await client.read_event()) is not None:
                if Transcript.is_type(event.type):
                    languages.append(Transcript.from_event(event).language)
        return languages

    assert asyncio.run(ask()) == [None, "en"]


def test_names_and_terms_are_taken(server: Server, speech: Path) -> None:
    transcribe = Transcribe(language="en", transcript_names=["kitchen"], transcript_terms=["lamp"])
    events = [transcribe.event(), *speech_events(read_samples(speech))[1:]]
    assert asyncio.run(answers(server, events))[-1].type == "transcript-stop"


def test_events_of_other_services_are_ignored(server: Server, speech: Path) -> None:
    events = [
        Event("synthesize", {"text": "hello"}),
        Event("x-unknown", {}, b"bytes"),
        *speech_events(read_samples(speech)),
    ]
    assert text_of(asyncio.run(answers(server, events)))


# Many at once


async def ask_all(server: Server, clips: Sequence[Samples]) -> list[list[Event]]:
    return await asyncio.gather(*(answers(server, speech_events(clip)) for clip in clips))


def assert_served_or_told(answered: Sequence[Sequence[Event]], texts: Sequence[str]) -> int:
    """Each client has the right text or was told to wait; returns how many have text."""
    served = 0
    for text, events in zip(texts, answered, strict=True):
        if events[-1].type == "error":
            assert events[-1].data["code"] == "busy"
            assert "ask again" in events[-1].data["text"]
        else:
            assert text_of(events) == text
            served += 1
    return served


@pytest.mark.slow
def test_of_twenty_clients_at_once_those_who_find_no_room_are_told_to_wait(
    server: Server, transcriber: Transcriber, recordings: Sequence[BundledRecording]
) -> None:
    clips = [read_samples(each.path) for each in recordings if each.group == "seen"][:4]
    texts = [expected(transcriber, clip) for clip in clips]
    answered = asyncio.run(ask_all(server, clips * 5))
    assert 4 <= assert_served_or_told(answered, texts * 5) < 20
    assert text_of(asyncio.run(answers(server, speech_events(clips[0])))) == texts[0], (
        "and then they are served"
    )


@pytest.mark.slow
def test_twenty_clients_at_once_are_all_served_where_the_queue_is_long_enough(
    demo_artifact: Path, transcriber: Transcriber, recordings: Sequence[BundledRecording]
) -> None:
    clips = [read_samples(each.path) for each in recordings if each.group in ("seen", "unseen")][:20]
    texts = [expected(transcriber, clip) for clip in clips]
    with Server(demo_artifact, "--max-waiting", "20", "--threads", "1") as patient:
        assert assert_served_or_told(asyncio.run(ask_all(patient, clips)), texts) == len(clips) == 20
        assert patient.terminate() == 0
