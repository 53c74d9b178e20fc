"""From sound to text with the bundled model: what is said comes out once, in order."""

import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgewhisper import Listener, Transcriber
from edgewhisper.bench.scoring import error_rate
from edgewhisper.errors import AudioError, UsageError
from edgewhisper.runtime.listening.heard import Partial, Utterance
from edgewhisper.runtime.listening.listener import LISTENING
from edgewhisper.runtime.listening.options import ListeningOptions
from edgewhisper.runtime.listening.sources import Block, Recorded
from edgewhisper.runtime.listening.voice_activity import EnergyGate, Silero
from edgewhisper.runtime.options import DecodingOptions, Segment
from edgewhisper.runtime.protocols import Floats
from tests.conftest import BundledRecording
from tests.runtime.listening.noises import RATE
from tests.runtime.listening.sounds import PAUSE, Given, Slow, bursts, joined, utterances


def test_each_recording_gives_its_text_at_its_time(
    transcriber: Transcriber, said: list[BundledRecording]
) -> None:
    heard = list(Listener(transcriber, Given(joined(said))))
    found = utterances(heard)
    assert [each.text for each in found] == [recording.text for recording in said]
    assert [each.language for each in found] == [recording.language for recording in said]
    begin = PAUSE
    for each, recording in zip(found, said, strict=True):
        end = begin + soundfile.info(recording.path).duration
        assert begin - 0.1 < each.start < each.end < end + 0.1
        assert each.ended_by == "pause"
        assert 0.5 < each.confidence <= 1
        assert each.confidence == pytest.approx(math.exp(each.avg_logprob), abs=1e-3)
        begin = end + PAUSE


def test_the_text_is_the_same_with_the_energy_gate(
    transcriber: Transcriber, said: list[BundledRecording]
) -> None:
    heard = list(Listener(transcriber, Given(joined(said[:1])), voice=EnergyGate()))
    assert [each.text for each in utterances(heard)] == [said[0].text]


@pytest.mark.slow
def test_all_recordings_are_understood_as_well_as_by_transcribe(
    transcriber: Transcriber, recordings: Sequence[BundledRecording]
) -> None:
    spoken, heard, transcribed = [], [], []
    for recording in recordings:
        samples, _ = soundfile.read(recording.path, dtype="float32")
        found = utterances(list(Listener(transcriber, Given(samples))))
        segments, _ = transcriber.transcribe(recording.path)
        assert recording.text or not found
        spoken.append(recording.text)
        heard.append(" ".join(each.text for each in found))
        transcribed.append("".join(segment.text for segment in segments))
    assert error_rate(spoken, heard).wer <= error_rate(spoken, transcribed).wer + 0.005


@pytest.mark.slow
@pytest.mark.parametrize("size", [100_000])
def test_how_sound_arrives_makes_no_difference(
    size: int, transcriber: Transcriber, said: list[BundledRecording]
) -> None:
    heard = [list(Listener(transcriber, Given(joined(said[:1]), each))) for each in (512, size)]
    first, second = (
        [(each.start, each.end, each.text, each.avg_logprob) for each in utterances(found)] for found in heard
    )
    assert first == second


def test_a_short_pause_in_a_sentence_does_not_divide_it(transcriber: Transcriber, speech: Path) -> None:
    samples, _ = soundfile.read(speech, dtype="float32")
    half = len(samples) // 2
    broken = np.concatenate((samples[:half], np.zeros(round(0.3 * RATE), np.float32), samples[half:]))
    silence = np.zeros(RATE, np.float32)
    found = utterances(list(Listener(transcriber, Given(np.concatenate((silence, broken, silence))))))
    assert len(found) == 1


def test_sound_that_ends_in_speech_is_decoded_too(
    transcriber: Transcriber, said: list[BundledRecording]
) -> None:
    samples = joined(said[:1])[: -round(PAUSE * RATE)]
    (found,) = utterances(list(Listener(transcriber, Given(samples))))
    assert (found.ended_by, found.text) == ("end", said[0].text)


def test_what_was_said_before_a_failure_is_given_first(
    transcriber: Transcriber, said: list[BundledRecording]
) -> None:
    heard = iter(Listener(transcriber, Given(joined(said[:1]), fails=AudioError("array: gone"))))
    first = next(heard)
    assert isinstance(first, Utterance)
    assert first.text == said[0].text
    with pytest.raises(AudioError, match="array: gone"):
        next(heard)


def test_stopping_finishes_what_is_being_said(transcriber: Transcriber, said: list[BundledRecording]) -> None:
    samples = joined(said[:1])

    class Stopping(Given):
        def blocks(self, stopped: threading.Event) -> Iterator[Block]:
            yield from itertools.islice(super().blocks(stopped), 90)  # up to mid-sentence
            listener.stop()
            stopped.wait(10)

    listener = Listener(transcriber, Stopping(samples))
    (found,) = utterances(list(listener))
    assert found.ended_by == "end"
    assert found.text


def test_who_stops_iterating_ends_the_listening(transcriber: Transcriber) -> None:
    before = threading.active_count()
    heard = iter(Listener(Slow(transcriber, 0.0).as_transcriber, Given(bursts(4)), voice=EnergyGate()))
    assert isinstance(next(heard), Utterance)
    heard.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_the_beginning_becomes_stable_and_the_text_is_the_same(
    transcriber: Transcriber, recordings: Sequence[BundledRecording]
) -> None:
    (recording,) = (each for each in recordings if each.path.stem == "seen-011")
    plain = utterances(list(Listener(transcriber, Recorded(recording.path, speed=math.inf))))
    with_partial = list(
        Listener(
            transcriber, Recorded(recording.path, speed=2), listening=ListeningOptions(partial_interval=0.5)
        )
    )
    final = utterances(with_partial)
    assert [(each.text, each.avg_logprob) for each in final] == [
        (each.text, each.avg_logprob) for each in plain
    ]
    partial = [each.text for each in with_partial if isinstance(each, Partial)]
    assert partial, "something was stable before the end"
    assert all(after.startswith(before) for before, after in itertools.pairwise([*partial, final[0].text]))


@pytest.mark.parametrize("sign", [{"avg_logprob": -1.5}, {"no_speech_prob": 0.7}, {"compression_ratio": 3.0}])
def test_a_single_sign_of_noise_is_enough(sign: dict[str, float], transcriber: Transcriber) -> None:
    class Unsure(Slow):
        def transcribe(
            self, samples: Floats, options: DecodingOptions, sample_rate: int
        ) -> tuple[Iterator[Segment], object]:
            segments, info = super().transcribe(samples, options, sample_rate)
            return (replace(segment, **sign) for segment in segments), info  # type: ignore[arg-type]

    unsure = Unsure(transcriber, 0.0)
    source = Given(np.concatenate((bursts(2), np.zeros(RATE, np.float32))))
    assert list(Listener(unsure.as_transcriber, source, voice=EnergyGate())) == []
    assert len(unsure.decoded) > 1


def test_a_gap_is_in_the_times(transcriber: Transcriber) -> None:
    class Interrupted(Given):
        def blocks(self, stopped: threading.Event) -> Iterator[Block]:
            yield from super().blocks(stopped)
            yield Block(self.samples, missing=10.0)

    source = Interrupted(np.concatenate((bursts(1), np.zeros(RATE, np.float32))))
    slow = Slow(transcriber, 0.0)
    first, second = utterances(list(Listener(slow.as_transcriber, source, voice=EnergyGate())))
    assert second.start - first.start == pytest.approx(10 + len(source.samples) / RATE, abs=0.1)


def test_push_to_talk(transcriber: Transcriber, said: list[BundledRecording]) -> None:
    """Two recordings with a pause between them are one utterance while the key is held."""
    samples = joined(said[:2])
    given = Given(samples)
    passed = 0

    class Counting(Silero):
        def probability(self, frame: Floats) -> float:
            nonlocal passed
            passed += len(frame)
            return super().probability(frame)

    def is_held() -> bool:
        return 0.5 * RATE < passed < len(samples) - 0.5 * RATE

    (found,) = utterances(list(Listener(transcriber, given, voice=Counting(), is_held=is_held)))
    assert found.ended_by == "key"
    assert found.text == f"{said[0].text} {said[1].text}"


def test_an_utterance_longer_than_the_window_is_refused(transcriber: Transcriber) -> None:
    with pytest.raises(UsageError, match="max_length 30: the model's window is 8 seconds, take no more"):
        Listener(transcriber, Given(bursts(1)), listening=ListeningOptions(max_length=30))


def test_an_option_that_the_model_does_not_have_is_refused_at_once(transcriber: Transcriber) -> None:
    with pytest.raises(UsageError, match="Klingon"):
        Listener(transcriber, Given(bursts(1)), replace(LISTENING, language="Klingon"))
