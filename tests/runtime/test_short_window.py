"""Windows as long as their speech: how long they are, and that text which looks wrong is written anew from the full window."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper import DecodingOptions, Transcriber
from edgewhisper.artifact import AudioSettings
from edgewhisper.bench.scoring import error_rate
from edgewhisper.errors import UsageError
from edgewhisper.runtime.options import WINDOWS
from edgewhisper.runtime.short_window import MARGIN, ends_in_doubt, frames_to_encode, is_too_fast
from edgewhisper.runtime.transcription import Model, Transcription
from tests.conftest import BundledRecording
from tests.scripted import (
    AUDIO,
    BEGIN,
    DIMENSIONS,
    END,
    ENGLISH,
    GERMAN,
    NO_SPEECH,
    START,
    TOKENS,
    VOCABULARY,
    Floats,
    Frames,
    Script,
    ScriptedDecoder,
    ScriptedEncoder,
    after_prompt,
    row,
    saying,
    sure,
)

WHISPER = AudioSettings(n_mels=80, n_frames=3000)
SHORT, FULL = 160, AUDIO.n_frames
"""Frames that are encoded of a recording of 30 frames, and of any."""


def transcribe(
    script: Script, frames: int = 30, is_measured: bool = False, **options: Any
) -> tuple[list[str], list[int], Transcription]:
    """Texts, frames of each encoding, and the transcription."""
    encoder = ScriptedEncoder()
    model = Model(encoder, ScriptedDecoder(script), VOCABULARY, DIMENSIONS, TOKENS, AUDIO, is_measured)
    given: dict[str, Any] = {"language": "en", "timestamps": False, "window": "auto"}
    chosen = DecodingOptions(**given | options)
    transcription = Transcription(model, Frames(frames), chosen)
    texts = [segment.text for segment in transcription.segments()]
    return texts, [window.shape[1] for window in encoder.windows], transcription


def failing_when_short(failure: Script) -> Script:
    """Another script for short windows; full ones have the text w1 w2."""
    right = saying(1, 2)
    return lambda cross, prefix: (failure if cross.shape[1] < FULL else right)(cross, prefix)


@given(frames=st.integers(1, 3000))
def test_the_margin_stays_and_lengths_are_few(frames: int) -> None:
    kept = frames_to_encode(frames, WHISPER)
    assert kept == 3000 or (kept % 32 == 0 and kept >= frames + 100 * MARGIN)
    assert kept < frames + 100 * MARGIN + 32 or kept == 3000
    assert kept <= frames_to_encode(min(frames + 1, 3000), WHISPER)


def test_three_seconds_are_a_seventh_of_a_window() -> None:
    assert frames_to_encode(300, WHISPER) == 448


def test_a_sure_text_of_a_short_window_stands() -> None:
    texts, encoded, transcription = transcribe(saying(1, 2))
    assert (texts, encoded) == ([" w1 w2"], [SHORT])
    assert transcription.info.statistics.short_windows == 1
    assert transcription.info.statistics.full_retries == 0


def test_long_audio_and_full_windows_are_encoded_whole() -> None:
    assert transcribe(saying(1, 2), frames=150)[1] == [FULL]
    assert transcribe(saying(1, 2), window="full")[1] == [FULL]
    assert transcribe(saying(1, 2), frames=230)[1] == [FULL, SHORT]


def unsure(cross: Any, prefix: Sequence[int]) -> Floats:
    return row((1, 1.0)) if len(after_prompt(tuple(prefix))) < 2 else row((END, 3.0))


def endless(cross: Any, prefix: Sequence[int]) -> Floats:
    return sure(1 + len(after_prompt(tuple(prefix))) % 3)


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(unsure, id="unsure"),
        pytest.param(endless, id="without an end"),
        pytest.param(saying(*[1] * 30), id="repetitive"),
        pytest.param(saying(*range(1, 20)), id="faster than anyone speaks"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"temperature": 0.0}, {"language": None}], ids=str)
def test_a_text_that_looks_wrong_is_written_anew(failure: Script, options: dict[str, Any]) -> None:
    def script(cross: Any, prefix: tuple[int, ...]) -> Floats:
        if prefix == (START,) and options:
            return row((GERMAN, 3.0))
        return failing_when_short(failure)(cross, prefix)

    texts, encoded, transcription = transcribe(script, **options)
    assert (texts, encoded) == ([" w1 w2"], [SHORT, FULL])
    statistics = transcription.info.statistics
    assert (statistics.windows, statistics.short_windows, statistics.full_retries) == (1, 1, 1)


def test_a_full_window_that_stays_unsure_falls_back_as_usual() -> None:
    _, encoded, transcription = transcribe(unsure, temperature=(0.0, 0.5))
    assert encoded == [SHORT, FULL]
    assert transcription.info.statistics.fallbacks == 1


def test_what_is_left_after_the_last_word_is_no_window() -> None:
    """A pair of timestamps 0.1 s before the end; a full window would go on from there."""
    script = saying(BEGIN, 1, BEGIN + 10, BEGIN + 10)
    texts, encoded, transcription = transcribe(script, timestamps=True)
    assert (texts, encoded) == ([" w1"], [SHORT])
    assert transcription.info.processed == pytest.approx(0.2)


def doubtful(at: int) -> Script:
    """Eight words, and a doubt about one of them or about the end: a probability of 0.4."""
    texts = (*range(10, 18), END)

    def script(cross: Any, prefix: tuple[int, ...]) -> Floats:
        number = len(after_prompt(prefix))
        return row((texts[number], 4.94)) if number == at else sure(texts[number])

    return script


@pytest.mark.parametrize(("at", "stands"), [(0, True), (2, True), (3, False), (7, False), (8, False)])
def test_a_text_that_ends_in_doubt_is_written_anew_where_doubt_is_known(at: int, stands: bool) -> None:
    """Of a text of eight words, the last five and its end are the ending."""
    script = failing_when_short(doubtful(at))
    texts, encoded, _ = transcribe(script, is_measured=True)
    assert encoded == ([SHORT] if stands else [SHORT, FULL])
    assert (texts == [" w1 w2"]) == (not stands)
    assert transcribe(script)[1] == [SHORT], "of another model nobody knows what its doubts mean"


@given(
    sure=st.lists(st.floats(-0.7, 0), min_size=6, max_size=9),
    timestamps=st.lists(st.floats(-9, 0), max_size=3),
    before=st.lists(st.floats(-9, 0), max_size=3),
)
def test_timestamps_and_what_is_long_before_leave_no_doubt(
    sure: list[float], timestamps: list[float], before: list[float]
) -> None:
    tokens = [1] * len(before) + [2] * (len(sure) - 1) + [BEGIN] * len(timestamps)
    logprobs = [*before, *sure[:-1], *timestamps, sure[-1]]
    assert not ends_in_doubt(tokens, logprobs, BEGIN)


def test_speed_limits() -> None:
    assert not is_too_fast(8, 1, WHISPER)
    assert not is_too_fast(60, 300, WHISPER)
    assert is_too_fast(70, 300, WHISPER)


def test_recordings_keep_their_text(demo_artifact: Path, recordings: Sequence[BundledRecording]) -> None:
    """The bundled model's, with its real graphs: hardly more words wrong than from full windows, and nothing said on silence.

    These are 266 words; on the 11,848 of the frozen set it is 0.02 points (docs/demo-model.md).
    """
    transcriber = Transcriber(demo_artifact)
    recordings = [recording for recording in recordings if recording.group != "long"]
    wrong = {}
    for window in WINDOWS:
        options = DecodingOptions(window=window)
        short, retries, texts = 0, 0, []
        for recording in recordings:
            segments, info = transcriber.transcribe(recording.path, options)
            texts.append("".join(segment.text for segment in segments))
            short += info.statistics.short_windows
            retries += info.statistics.full_retries if recording.text else 0
        assert not any(text for text, item in zip(texts, recordings, strict=True) if item.group == "blank")
        wrong[window] = error_rate([item.text for item in recordings], texts).wer
        assert (short > 20) == (window == "auto")
        assert retries <= 0.1 * short
    assert wrong["auto"] <= wrong["full"] + 0.02


@pytest.mark.parametrize("missing", [pytest.param(0.3, marks=pytest.mark.slow), 0.6])
def test_most_texts_of_windows_that_end_too_soon_are_caught(
    missing: float,
    demo_artifact: Path,
    recordings: Sequence[BundledRecording],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With real graphs, and windows that end before the speech does; what is caught has the full window's text."""
    transcriber = Transcriber(demo_artifact)
    monkeypatch.setattr("edgewhisper.runtime.short_window.MARGIN", -missing)
    caught = missed = 0
    for recording in [x for x in recordings if x.group in ("seen", "unseen", "german")][::2]:
        found = {}
        for window in WINDOWS:
            segments, info = transcriber.transcribe(
                recording.path, DecodingOptions(window=window, timestamps=False)
            )
            found[window] = [segment.tokens for segment in segments]
        if info.statistics.full_retries:
            caught += 1
            assert found["auto"] == found["full"]
        else:
            missed += found["auto"] != found["full"]
    assert caught >= 2
    assert caught >= 2 * missed


@pytest.mark.parametrize("limit", [0.5, 0.99], ids=["as it is written anew", "as it is unsure"])
def test_a_language_misheard_in_a_short_window_is_heard_anew(
    limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(cross: Any, prefix: tuple[int, ...]) -> Floats:
        is_short = cross.shape[1] < FULL
        if prefix == (START,):
            return row((GERMAN if is_short else ENGLISH, 3.0))  # a probability of 0.95
        return (endless if is_short else saying(1, 2))(cross, prefix)

    monkeypatch.setattr("edgewhisper.runtime.transcription.SURE_LANGUAGE", limit)
    texts, encoded, transcription = transcribe(script, language=None)
    assert (texts, encoded) == ([" w1 w2"], [SHORT, FULL])
    assert transcription.info.language == "en"
    assert transcription.info.statistics.short_windows == (limit < 0.95)


def test_what_passes_for_silence_is_asked_of_the_full_window() -> None:
    def script(cross: Any, prefix: tuple[int, ...]) -> Floats:
        if prefix[-1] == START and cross.shape[1] < FULL:
            return row((NO_SPEECH, 9.0))
        return saying(1, 2)(cross, prefix)

    texts, encoded, _ = transcribe(script)
    assert (texts, encoded) == ([" w1 w2"], [SHORT, FULL])


def test_batches_have_full_windows(demo_artifact: Path) -> None:
    with pytest.raises(UsageError, match="windows of a batch are full ones"):
        Transcriber(demo_artifact).transcribe_batch(
            [np.zeros(1600, np.float32)], DecodingOptions(window="auto"), batch=2
        )


def test_unknown_windows_are_refused() -> None:
    with pytest.raises(UsageError, match="window 'short' is not valid; give full or auto"):
        DecodingOptions(window="short")  # type: ignore[arg-type]
