"""Recordings transcribed together: the texts of one by one, whatever fails meanwhile."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewhisper.errors import AudioError, UsageError
from edgewhisper.pipeline.build import build, quantize
from edgewhisper.pipeline.options import BuildOptions
from edgewhisper.runtime import batch as batch_module
from edgewhisper.runtime.audio import AudioStream, open_audio
from edgewhisper.runtime.batch import MOST, batch_size, is_allocation_failure
from edgewhisper.runtime.batch_loop import BatchLoop
from edgewhisper.runtime.memory_budget import transcription_memory
from edgewhisper.runtime.options import DecodingOptions, Segment
from edgewhisper.runtime.slots import Slots, slot_bytes
from edgewhisper.runtime.transcriber import Transcriber, Transcript
from edgewhisper.runtime.transcription import Transcription
from tests.conftest import BundledRecording

GREEDY = DecodingOptions(temperature=0.0, speculate="off")
Tokens = list[tuple[int, ...]]


@pytest.fixture(scope="module")
def transcriber(demo_artifact: Path) -> Transcriber:
    return Transcriber(demo_artifact)


@pytest.fixture(scope="module")
def some(recordings: Sequence[BundledRecording]) -> list[BundledRecording]:
    """Short ones and two long ones."""
    few = [recording for recording in recordings if recording.path.stem.endswith(("2", "7"))]
    assert sum(recording.path.stem.startswith("long") for recording in few) >= 2
    assert len(few) >= 8
    return few


def one_by_one(
    transcriber: Transcriber, audios: Sequence[Any], options: DecodingOptions
) -> list[list[Segment]]:
    return [list(transcriber.transcribe(audio, options)[0]) for audio in audios]


def tokens(segments: Sequence[Segment]) -> Tokens:
    return [segment.tokens for segment in segments]


@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_text_is_that_of_one_by_one(
    transcriber: Transcriber, some: list[BundledRecording], timestamps: bool, count: int
) -> None:
    options = replace(GREEDY, timestamps=timestamps)
    paths = [recording.path for recording in some]
    single = one_by_one(transcriber, paths, options)
    together = list(transcriber.transcribe_batch(paths, options, batch=count))
    assert [tokens(x.segments) for x in together] == [tokens(x) for x in single]
    for transcript, segments in zip(together, single, strict=True):
        assert transcript.error is None
        assert transcript.info is not None
        assert transcript.info.processed == pytest.approx(transcript.info.duration, abs=0.02)
        assert transcript.info.statistics.windows >= 1
        assert transcript.info.statistics.tokens > 0
        for found, expected in zip(transcript.segments, segments, strict=True):
            assert (found.start, found.end, found.text) == (expected.start, expected.end, expected.text)
            assert found.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-3)
            assert found.no_speech_prob == pytest.approx(expected.no_speech_prob, abs=1e-3)


def test_a_long_recording_without_timestamps_is_decoded_several_windows_at_once(
    transcriber: Transcriber, some: list[BundledRecording], monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[int] = []
    step = BatchLoop.step

    def counted(self: BatchLoop) -> Any:
        running.append(len(self.jobs))
        return step(self)

    monkeypatch.setattr(BatchLoop, "step", counted)
    (path,) = (recording.path for recording in some if recording.path.stem == "long-012")
    (transcript,) = transcriber.transcribe_batch([path], replace(GREEDY, timestamps=False), batch=3)
    assert max(running) == 3
    assert len(transcript.segments) > 3
    starts = [segment.start for segment in transcript.segments]
    assert starts == sorted(starts)
    running.clear()
    list(transcriber.transcribe_batch([path], GREEDY, batch=3))
    assert set(running) == {1}  # a window begins where the timestamps of the one before end


def test_unsure_windows_are_decoded_again_as_one_by_one(
    transcriber: Transcriber, some: list[BundledRecording]
) -> None:
    """A threshold that hardly any text passes: every temperature is tried, with the draws of its recording."""
    options = DecodingOptions(temperature=(0.0, 0.3, 0.9), logprob_threshold=-0.01, speculate="off", seed=5)
    paths = [recording.path for recording in some if not recording.path.stem.startswith("long")][:4]
    single = one_by_one(transcriber, paths, options)
    together = list(transcriber.transcribe_batch(paths, options, batch=3))
    assert [tokens(x.segments) for x in together] == [tokens(x) for x in single]
    assert sum(x.info.statistics.fallbacks for x in together if x.info is not None) > 0


def test_a_recording_that_cannot_be_read_does_not_stop_the_others(
    transcriber: Transcriber, some: list[BundledRecording], tmp_path: Path
) -> None:
    broken, cut = tmp_path / "broken.wav", tmp_path / "cut.flac"
    broken.write_bytes(b"RIFF nonsense")
    long = next(recording.path for recording in some if recording.path.stem == "long-012")
    cut.write_bytes(long.read_bytes()[:400_000])
    paths = [some[0].path, broken, cut, some[1].path]
    first, second, third, fourth = transcriber.transcribe_batch(paths, GREEDY, batch=2)
    assert (first.error, fourth.error) == (None, None)
    assert first.segments
    assert fourth.segments
    assert isinstance(second.error, AudioError)
    assert (second.info, second.segments) == (None, ())
    assert isinstance(third.error, AudioError)


@pytest.fixture
def sounds() -> list[NDArray[np.float32]]:
    return [
        np.random.default_rng(seed).normal(0, 0.1, 16_000 * (seed + 1)).astype(np.float32)
        for seed in range(4)
    ]


def test_fewer_windows_at_once_where_memory_does_not_suffice(
    transcriber: Transcriber, some: list[BundledRecording], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    paths = [recording.path for recording in some]
    expected = [tokens(x) for x in one_by_one(transcriber, paths, GREEDY)]

    class Small(Slots):
        def __init__(self, decoder: Any, count: int, positions: int) -> None:
            if count > 2:
                raise MemoryError
            super().__init__(decoder, count, positions)

    monkeypatch.setattr(batch_module, "Slots", Small)
    together = list(transcriber.transcribe_batch(paths, GREEDY, batch=8))
    assert [tokens(x.segments) for x in together] == expected
    assert "going on with 4" in caplog.text
    assert "going on with 2" in caplog.text


@pytest.mark.parametrize("place", ["__init__", "encode", "step", "decide"])
def test_what_memory_does_not_suffice_for_is_done_again_with_fewer_windows(
    transcriber: Transcriber, some: list[BundledRecording], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Wherever it fails, nothing is lost or counted twice."""
    paths = [recording.path for recording in some]
    options = DecodingOptions(temperature=(0.0, 0.3), logprob_threshold=-0.05, speculate="off")
    expected = [transcriber.transcribe(path, options) for path in paths]
    texts = [tokens(list(segments)) for segments, _ in expected]
    owner: Any = Slots if place == "step" else Transcription
    whole, taken = getattr(owner, place), list[object]()

    def failing(*arguments: Any, **named: Any) -> Any:
        if place != "decide" or named["cross"] is not None:
            taken.append(None)
            if len(taken) in (2, 5):
                raise RuntimeError("Failed to allocate memory for requested buffer of size 4")
        return whole(*arguments, **named)

    monkeypatch.setattr(owner, place, failing)
    together = list(transcriber.transcribe_batch(paths, options, batch=4))
    assert len(taken) > 5
    assert [tokens(x.segments) for x in together] == texts
    for transcript, (_, info) in zip(together, expected, strict=True):
        assert transcript.info is not None
        assert transcript.info.statistics.windows == info.statistics.windows
        if place != "decide":
            assert transcript.info.statistics.tokens == info.statistics.tokens


def test_other_failures_are_not_taken_for_lack_of_memory(
    transcriber: Transcriber, sounds: list[NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Slots, *arguments: Any) -> Any:
        raise RuntimeError("the graph is broken")

    monkeypatch.setattr(Slots, "step", failing)
    with pytest.raises(RuntimeError, match="the graph is broken"):
        list(transcriber.transcribe_batch(sounds, GREEDY, batch=2))
    assert is_allocation_failure(MemoryError())
    assert is_allocation_failure(RuntimeError("std::bad_alloc"))


def test_auto_takes_what_fits(transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = transcriber.manifest
    decoder = manifest.graph("decoder")
    slot = slot_bytes(decoder, manifest.dimensions)
    least = transcription_memory(manifest.dimensions, "fp32", "fp32", low_memory=False)
    assert batch_size(manifest, least + 3 * slot + slot // 2) == 3
    assert batch_size(manifest, least) == 1
    assert batch_size(manifest, 1 << 40) == MOST
    monkeypatch.setattr(batch_module, "available_memory", lambda: 10 * slot + 5)
    assert batch_size(manifest, None) == 5


def test_what_cannot_be_done_together_is_refused(
    transcriber: Transcriber, sounds: list[NDArray[np.float32]], demo_artifact: Path, tmp_path: Path
) -> None:
    for options, words in (
        (DecodingOptions(temperature=0.5), "with temperature 0 first"),
        (DecodingOptions(speculate=3), "nothing is guessed in batches"),
        (DecodingOptions(hypothesis=[1]), "nothing is guessed in batches"),
    ):
        with pytest.raises(UsageError, match=words):
            transcriber.transcribe_batch(sounds, options, batch=2)
    for count in (0, -3, True, 2.5, "4", None):
        with pytest.raises(UsageError, match="must be auto, or a whole number of 1 or more"):
            transcriber.transcribe_batch(sounds, GREEDY, batch=count)  # type: ignore[arg-type]
    for single in ("speech.wav", Path("speech.wav"), sounds[0]):
        with pytest.raises(UsageError, match="one recording given to transcribe_batch"):
            transcriber.transcribe_batch(single, GREEDY)  # type: ignore[arg-type]
    dynamic = quantize(
        demo_artifact, tmp_path / "dynamic", BuildOptions(decoder_precision="int8-dynamic", gate="off")
    )
    with pytest.raises(UsageError, match="dynamic INT8"):
        Transcriber(dynamic).transcribe_batch(sounds, GREEDY, batch=2)
    portable = build("demo", tmp_path / "portable", BuildOptions(ops="portable"), parity=False)
    transcriber = Transcriber(portable)
    with pytest.raises(UsageError, match="batches are for provider cpu and fused graphs"):
        transcriber.transcribe_batch(sounds, GREEDY, batch=2)
    # "auto" goes one by one there.
    found = list(transcriber.transcribe_batch(sounds, GREEDY))
    assert [tokens(x.segments) for x in found] == [tokens(x) for x in one_by_one(transcriber, sounds, GREEDY)]


def test_recordings_are_closed_when_nobody_wants_more(
    transcriber: Transcriber, some: list[BundledRecording], monkeypatch: pytest.MonkeyPatch
) -> None:
    streams: list[AudioStream] = []
    closed: list[AudioStream] = []
    close = AudioStream.close

    def noted(self: AudioStream) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(AudioStream, "close", noted)

    def opened(path: Path) -> AudioStream:
        streams.append(open_audio(path, target_rate=16_000))
        return streams[-1]

    openers = [partial(opened, recording.path) for recording in some]
    transcripts = transcriber.transcribe_batch(openers, GREEDY, batch=3)
    next(transcripts)
    cast("Generator[Transcript]", transcripts).close()
    assert streams
    assert all(stream in closed for stream in streams)


def test_transcripts_need_not_wait_for_a_long_recording(
    transcriber: Transcriber, some: list[BundledRecording]
) -> None:
    paths = sorted((recording.path for recording in some), key=lambda path: not path.stem.startswith("long"))
    together = list(transcriber.transcribe_batch(paths, GREEDY, batch=4, ordered=False))
    assert together[0].index != 0
    assert sorted(x.index for x in together) == list(range(len(paths)))
    single = one_by_one(transcriber, paths, GREEDY)
    assert all(tokens(x.segments) == tokens(single[x.index]) for x in together)


def test_context_prompts_and_limits_are_those_of_one_by_one(
    transcriber: Transcriber, some: list[BundledRecording]
) -> None:
    paths = [recording.path for recording in some][:6]
    for options in (
        replace(GREEDY, condition_on_previous_text=True),
        replace(GREEDY, initial_prompt="Turn on the lights."),
        replace(GREEDY, max_tokens=5, timestamps=False),
    ):
        together = list(transcriber.transcribe_batch(paths, options, batch=3))
        single = one_by_one(transcriber, paths, options)
        assert [tokens(x.segments) for x in together] == [tokens(x) for x in single]


def test_nothing_to_do_is_no_error(transcriber: Transcriber) -> None:
    found: list[Transcript] = list(transcriber.transcribe_batch([], GREEDY, batch=4))
    assert found == []
