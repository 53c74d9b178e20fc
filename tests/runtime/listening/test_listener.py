"""From sound to text with the bundled model: what is said comes out once, in order, and silence says nothing."""

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile

from edgewhisper import Listener, Transcriber
from edgewhisper.errors import AudioError, UsageError
from edgewhisper.pipeline.build import build
from edgewhisper.pipeline.options import BuildOptions
from edgewhisper.runtime.listening.decoding import SpeechDecoder
from edgewhisper.runtime.listening.frames import Speech
from edgewhisper.runtime.listening.heard import Dropped, Heard, Partial, Utterance
from edgewhisper.runtime.listening.listener import LISTENING
from edgewhisper.runtime.listening.options import ListeningOptions
from edgewhisper.runtime.listening.sources import Block, Recorded
from edgewhisper.runtime.listening.voice_activity import EnergyGate, Silero
from edgewhisper.runtime.options import DecodingOptions, Segment
from edgewhisper.runtime.protocols import Floats
from tests.conftest import BundledRecording
from tests.runtime.listening.noises import RATE, pieces

PAUSE = 1.0  # seconds between recordings


class Given:
    """Sound from an array, a few samples at a time; then perhaps a failure."""

    name = "array"

    def __init__(
        self, samples: Floats, size: int = 512, can_wait: bool = True, fails: AudioError | None = None
    ) -> None:
        self.samples, self.size, self.can_wait, self.fails = samples, size, can_wait, fails

    def blocks(self, stopped: threading.Event) -> Iterator[Block]:
        for start in range(0, len(self.samples), self.size):
            if stopped.is_set():
                return
            yield Block(self.samples[start : start + self.size])
        if self.fails is not None:
            raise self.fails


@pytest.fixture(scope="module")
def transcriber(demo_artifact: Path) -> Transcriber:
    return Transcriber(demo_artifact, threads=2)


@pytest.fixture(scope="module")
def said(recordings: Sequence[BundledRecording]) -> list[BundledRecording]:
    """Some recordings of one sentence each, which the model knows in whatever silence they stand."""
    names = ("seen-004", "seen-010", "german-001", "unseen-001")
    return [recording for recording in recordings if recording.path.stem in names]


def joined(recordings: Sequence[BundledRecording]) -> Floats:
    silence = np.zeros(round(PAUSE * RATE), np.float32)
    sounds = [silence]
    for recording in recordings:
        sounds += [soundfile.read(recording.path, dtype="float32")[0], silence]
    return np.concatenate(sounds)


def utterances(heard: Sequence[Heard]) -> list[Utterance]:
    return [each for each in heard if isinstance(each, Utterance)]


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


class Slow:
    """Stands for a transcriber that takes its time, also for each second of sound; the text is how much it was given."""

    def __init__(self, transcriber: Transcriber, seconds: float, per_second: float = 0.0) -> None:
        self.manifest, self.guesses_are_exact = transcriber.manifest, True
        self.seconds, self.per_second = seconds, per_second
        self.decoded: list[tuple[int, Sequence[int] | None]] = []

    def transcribe(
        self, samples: Floats, options: DecodingOptions, sample_rate: int
    ) -> tuple[Iterator[Segment], object]:
        time.sleep(self.seconds + self.per_second * len(samples) / sample_rate)
        self.decoded.append((len(samples), options.hypothesis))
        return iter([Segment(0, 1, f" {len(samples)}", (1, 2), -0.1, 0.0, 1.0, 0.0)]), self

    language = "en"  # of what it returns as info

    @property
    def as_transcriber(self) -> Transcriber:
        return cast(Transcriber, self)


def tones(*seconds: float) -> Floats:
    """Tones of these lengths, each after a second of silence."""
    pieces = []
    for length in seconds:
        tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(round(length * RATE)) / RATE)
        pieces += [np.zeros(RATE), tone]
    return np.concatenate(pieces).astype(np.float32)


def bursts(count: int) -> Floats:
    """So many tones of half a second, a second apart."""
    return tones(*[0.5] * count)


class Live(Given):
    """Sound that takes its time, or half of it."""

    speed = 2.0

    def blocks(self, stopped: threading.Event) -> Iterator[Block]:
        for block in super().blocks(stopped):
            time.sleep(len(block.samples) / RATE / self.speed)
            yield block


def test_what_cannot_be_decoded_in_time_is_dropped_and_told(transcriber: Transcriber) -> None:
    slow = Slow(transcriber, 0.05)
    source = Given(np.concatenate((bursts(8), np.zeros(RATE, np.float32))), can_wait=False)
    heard = list(
        Listener(slow.as_transcriber, source, listening=ListeningOptions(backlog=3), voice=EnergyGate())
    )
    dropped = [each for each in heard if isinstance(each, Dropped)]
    found = utterances(heard)
    assert dropped
    assert len(dropped) + len(found) == 8
    times = [each.start for each in heard if not isinstance(each, Partial)]
    assert times == sorted(times), "each in its place"
    waiting = Listener(slow.as_transcriber, Given(source.samples), voice=EnergyGate())
    assert len(utterances(list(waiting))) == 8, "a source that can wait loses nothing"


@pytest.mark.parametrize(("seconds", "least", "most"), [(0.05, 0.0, 0.045), (0.35, 0.3, 0.7)])
def test_decoding_begins_in_the_pause_where_it_is_fast_enough(
    seconds: float, least: float, most: float, transcriber: Transcriber
) -> None:
    slow = Slow(transcriber, seconds)
    source = Live(np.concatenate((tones(0.5, 0.2), np.zeros(RATE, np.float32))))
    first, second = utterances(list(Listener(slow.as_transcriber, source, voice=EnergyGate())))
    assert first.latency >= seconds, "nothing as long was decoded before"
    assert least <= second.latency <= most
    assert len(slow.decoded) == 3, "the warm-up, and each once"


def test_how_long_decoding_takes_is_known_of_what_was_as_long(transcriber: Transcriber) -> None:
    slow = Slow(transcriber, 0.0, per_second=0.1)
    decoder = SpeechDecoder(slow.as_transcriber, LISTENING)
    assert decoder.expected_seconds(1) == math.inf, "the warm-up does not count"
    for start, seconds in enumerate((2.0, 0.1)):
        decoder.decode(Speech(start, np.zeros(round(seconds * RATE), np.float32), 0, 100, 0.0, 0.0, "pause"))
    short, longer, longest = (decoder.expected_seconds(round(seconds * RATE)) for seconds in (0.1, 1.0, 2.1))
    assert 0.01 <= short < 0.1
    assert 0.2 <= longer < math.inf
    assert longest == math.inf


def test_partial_text_takes_half_of_the_time_at_most(transcriber: Transcriber) -> None:
    options = ListeningOptions(partial_interval=0.1)
    slow = Slow(transcriber, 0.15)
    source = Live(np.concatenate((tones(1.5), np.zeros(RATE, np.float32))))
    source.speed = 1.0
    list(Listener(slow.as_transcriber, source, listening=options, voice=EnergyGate()))
    lengths = [length / RATE for length, _ in slow.decoded[1:]]
    gaps = [
        after - before for before, after in itertools.pairwise(lengths[1:-1])
    ]  # the first knew nothing of it
    assert gaps
    assert min(gaps) >= 2 * 0.15


def test_what_was_shown_of_nothing_is_taken_back(transcriber: Transcriber) -> None:
    class Doubting(Slow):
        """Is sure while the sound goes on, and no longer when silence has followed."""

        def transcribe(
            self, samples: Floats, options: DecodingOptions, sample_rate: int
        ) -> tuple[Iterator[Segment], object]:
            _, info = super().transcribe(samples, options, sample_rate)
            logprob = -0.1 if np.abs(samples[-RATE // 10 :]).max() > 0.01 else -2.0
            return iter([Segment(0, 1, " la la", (1, 2), logprob, 0.0, 1.0, 0.0)]), info

    options = ListeningOptions(partial_interval=0.1)
    source = Live(np.concatenate((tones(2.0), np.zeros(RATE, np.float32))))
    doubting = Doubting(transcriber, 0.0)
    shown, taken_back = Listener(doubting.as_transcriber, source, listening=options, voice=EnergyGate())
    assert isinstance(shown, Partial)
    assert (shown.text, taken_back) == ("la la", Partial(shown.start, ""))


def test_growing_sound_is_decoded_with_what_it_gave_before(transcriber: Transcriber) -> None:
    slow = Slow(transcriber, 0.0)
    decoder = SpeechDecoder(slow.as_transcriber, LISTENING)
    samples = np.zeros(100, np.float32)
    speech = Speech(5, samples, 5, 100, 0.0, 0.0, None)
    longer, other = replace(speech, samples=np.zeros(200, np.float32)), replace(speech, start=300)
    assert decoder.decode(speech) == decoder.decode(speech)
    for each in (longer, other):
        decoder.decode(each)
    assert slow.decoded[1:] == [(100, None), (200, [1, 2]), (100, None)]
    slow.guesses_are_exact = False
    decoder.decode(replace(other, samples=longer.samples))
    assert slow.decoded[-1] == (200, None), "a guess could change the text"


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


class Noise:
    """Noises in turn, at infinite speed; remembers what the process took."""

    name, can_wait = "noise", True

    def __init__(self, seconds: float, of_each: float, seed: int) -> None:
        self._noise = (seconds, of_each, seed)
        self.memory: list[int] = []

    def blocks(self, stopped: threading.Event) -> Iterator[Block]:
        for piece in pieces(*self._noise):
            self.memory.append(resident())
            for start in range(0, len(piece), 8000):
                yield Block(np.clip(piece[start : start + 8000], -1, 1))


def resident() -> int:
    """Resident memory in bytes."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) * 1024


@pytest.mark.parametrize("make", [pytest.param(Silero, marks=pytest.mark.slow), EnergyGate])
def test_noise_has_no_text(make: Callable[[], Silero | EnergyGate], transcriber: Transcriber) -> None:
    assert list(Listener(transcriber, Noise(14, 2, seed=3), voice=make())) == []


@pytest.mark.slow
@pytest.mark.parametrize("make", [Silero, EnergyGate])
def test_half_an_hour_of_noise_has_no_text_and_takes_no_memory(
    make: Callable[[], Silero | EnergyGate], transcriber: Transcriber
) -> None:
    noise = Noise(1800, 10, seed=0)
    assert list(Listener(transcriber, noise, voice=make())) == []
    settled = noise.memory[len(noise.memory) // 3 :]
    assert max(settled) - settled[0] < 5_000_000


@pytest.mark.slow
def test_text_comes_soon_after_the_end_was_noticed(
    tmp_path: Path, said: list[BundledRecording], capsys: pytest.CaptureFixture[str]
) -> None:
    """Where other programs take the processors, the best of three times counts; the time from the last voice contains the delay."""
    artifact = build("demo", tmp_path / "demo", BuildOptions(precision="int8", gate="off"), parity=False)
    soundfile.write(tmp_path / "said.wav", joined(said), RATE)
    transcriber = Transcriber(artifact, threads=2)
    medians: list[float] = []
    while len(medians) < 3 and min(medians, default=1) >= 0.15:
        found = utterances(list(Listener(transcriber, Recorded(tmp_path / "said.wav"))))
        assert len(found) == len(said)
        medians.append(float(np.median([each.latency for each in found])))
        from_voice = float(np.median([each.latency_from_voice for each in found]))
        with capsys.disabled():
            print(f"\ntext {medians[-1]:.3f} s after the decision, {from_voice:.3f} s after the last voice")
    assert min(medians) < 0.15
