"""How a recording is transcribed, on scripted logits; the tokens themselves are compared in test_transcription_oracle."""

import weakref
from typing import Any

import numpy as np
import pytest

from edgewhisper.artifact import TokenIds
from edgewhisper.runtime.options import DecodingOptions
from edgewhisper.runtime.transcription import Model, Transcription
from tests.scripted import (
    AUDIO,
    BEGIN,
    DIMENSIONS,
    END,
    ENGLISH,
    ENGLISH_ONLY,
    GERMAN,
    NO_SPEECH,
    NO_TIMESTAMPS,
    PREVIOUS,
    START,
    TOKENS,
    TRANSCRIBE,
    TRANSLATE,
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

WINDOW = AUDIO.n_frames
ENGLISH_OPTIONS = {"language": "en"}


def prepare(
    script: Script,
    total_frames: int,
    tokens: TokenIds = TOKENS,
    *,
    prompt: tuple[int, ...] = (),
    **options: Any,
) -> tuple[Transcription, Model, list[float]]:
    model = Model(ScriptedEncoder(), ScriptedDecoder(script), VOCABULARY, DIMENSIONS, tokens, AUDIO)
    progress: list[float] = []
    transcription = Transcription(
        model, Frames(total_frames), DecodingOptions(**options), prompt=prompt, on_progress=progress.append
    )
    return transcription, model, progress


def prompts(model: Model) -> list[tuple[int, ...]]:
    assert isinstance(model.decoder, ScriptedDecoder)
    return [call for call in model.decoder.calls if START in call]


def speaks(language: int, otherwise: Script) -> Script:
    def script(cross: Any, prefix: tuple[int, ...]) -> Floats:
        return row((language, 3.0)) if prefix == (START,) else otherwise(cross, prefix)

    return script


def test_the_language_is_detected_before_the_first_segment_is_taken() -> None:
    transcription, model, _ = prepare(speaks(GERMAN, saying(BEGIN, 1, BEGIN + 50)), WINDOW)
    assert transcription.info.language == "de"
    assert transcription.info.language_probability == pytest.approx(np.exp(3) / (np.exp(3) + 1), rel=1e-5)
    assert [segment.text for segment in transcription.segments()] == [" w1"]
    assert prompts(model) == [(START,), (START, GERMAN, TRANSCRIBE)]


def test_the_window_of_the_detection_is_encoded_once() -> None:
    transcription, model, _ = prepare(speaks(GERMAN, saying(BEGIN, 1, BEGIN + 50)), 2 * WINDOW)
    list(transcription.segments())
    assert isinstance(model.encoder, ScriptedEncoder)
    assert [int(window[0, 0]) for window in model.encoder.windows] == [1, WINDOW + 1]


@pytest.mark.parametrize(
    ("tokens", "options", "expected"),
    [
        (TOKENS, {"language": "de"}, (START, GERMAN, TRANSCRIBE)),
        (TOKENS, {"language": "german", "task": "translate"}, (START, GERMAN, TRANSLATE)),
        (TOKENS, {"language": "en", "timestamps": False}, (START, ENGLISH, TRANSCRIBE, NO_TIMESTAMPS)),
        (ENGLISH_ONLY, {}, (START,)),
        (ENGLISH_ONLY, {"timestamps": False}, (START, NO_TIMESTAMPS)),
    ],
)
def test_the_prompt_names_language_and_task(
    tokens: TokenIds, options: dict[str, Any], expected: tuple[int, ...]
) -> None:
    transcription, model, _ = prepare(saying(BEGIN, 1, BEGIN + 50), 50, tokens, **options)
    list(transcription.segments())
    assert prompts(model) == [expected]
    assert transcription.info.language_probability == 1.0


def test_segments_have_the_times_of_their_timestamps() -> None:
    script = saying(BEGIN, 1, BEGIN + 20, BEGIN + 30, 2, 3, BEGIN + 80)
    first, second = prepare(script, WINDOW, language="en")[0].segments()
    assert (first.start, first.end, first.text, first.tokens) == (0.0, 0.4, " w1", (BEGIN, 1, BEGIN + 20))
    assert (second.start, second.end, second.text) == (0.6, 1.6, " w2 w3")


def test_times_go_on_from_window_to_window() -> None:
    transcription, _, _ = prepare(saying(BEGIN + 5, 1, BEGIN + 20), 3 * WINDOW, language="en")
    assert [(segment.start, segment.end) for segment in transcription.segments()] == [
        (0.0, 0.4),
        (2.0, 2.4),
        (4.0, 4.4),
    ]


def test_no_segment_ends_after_the_recording() -> None:
    (segment,) = prepare(saying(BEGIN, 1, BEGIN + 90), 100, language="en")[0].segments()
    assert segment.end == 1.0


def test_without_timestamps_every_window_is_a_segment() -> None:
    transcription, _, _ = prepare(saying(1, 2), 2 * WINDOW + 30, language="en", timestamps=False)
    spans = [(segment.start, segment.end, segment.tokens) for segment in transcription.segments()]
    assert spans == [(0.0, 2.0, (1, 2)), (2.0, 4.0, (1, 2)), (4.0, 4.3, (1, 2))]


def test_windows_without_text_give_no_segment() -> None:
    transcription, _, progress = prepare(saying(BEGIN), 3 * WINDOW, language="en")
    assert list(transcription.segments()) == []
    assert progress == [2.0, 4.0, 6.0]


def silence(cross: Any, prefix: tuple[int, ...]) -> Floats:
    """Babble that the model itself does not believe in."""
    if prefix[-1] == START:
        return row((NO_SPEECH, 20.0), (ENGLISH, 1.0))
    return row((BEGIN, 1.0)) if not after_prompt(prefix) else row((len(prefix) % 50, 0.5), (END, 0.4))


def test_ten_minutes_of_silence_give_no_text() -> None:
    transcription, _, _ = prepare(silence, 60_000)
    assert list(transcription.segments()) == []
    assert transcription.info.statistics.silent_windows == transcription.info.statistics.windows == 300
    assert transcription.info.statistics.fallbacks == 0


def test_segments_come_as_their_windows_are_decoded() -> None:
    transcription, model, _ = prepare(saying(BEGIN, 1, BEGIN + 50), 5 * WINDOW, language="en")
    segments = transcription.segments()
    assert isinstance(model.encoder, ScriptedEncoder)
    for n_windows in (1, 2, 3):
        next(segments)
        assert len(model.encoder.windows) == n_windows
        assert transcription.info.processed == 2.0 * n_windows


def test_two_transcriptions_may_take_turns() -> None:
    def script(cross: Any, prefix: tuple[int, ...]) -> Floats:
        sampled = after_prompt(prefix)
        return sure((BEGIN, int(cross[0, 0]) // 10, BEGIN + 50, END)[len(sampled)])

    model = Model(ScriptedEncoder(), ScriptedDecoder(script), VOCABULARY, DIMENSIONS, TOKENS, AUDIO)
    options = DecodingOptions(language="en")
    alone = [list(Transcription(model, Frames(n), options).segments()) for n in (900, 1000)]
    both = [Transcription(model, Frames(n), options).segments() for n in (900, 1000)]
    taken: list[list[Any]] = [[], []]
    for _ in range(5):
        for segments, kept in zip(both, taken, strict=True):
            kept += [segment for segment in [next(segments, None)] if segment]
    assert taken == alone


def test_previous_text_is_given_when_asked_for() -> None:
    script = saying(BEGIN, 1, 2, BEGIN + 50)
    start = (START, ENGLISH, TRANSCRIBE)
    _, model, _ = run(script, 2 * WINDOW, condition_on_previous_text=True)
    assert prompts(model) == [start, (PREVIOUS, BEGIN, 1, 2, BEGIN + 50, *start)]
    _, model, _ = run(script, 2 * WINDOW)
    assert prompts(model) == [start, start]


def run(script: Script, total_frames: int, **options: Any) -> tuple[Transcription, Model, list[float]]:
    prepared = prepare(script, total_frames, **{"language": "en", **options})
    list(prepared[0].segments())
    return prepared


def test_previous_text_is_cut_to_half_of_the_positions() -> None:
    script = saying(BEGIN, 1, 2, 3, 4, 5, 6, BEGIN + 50)
    _, model, _ = run(script, 6 * WINDOW, condition_on_previous_text=True)
    last = prompts(model)[-1]
    assert len(last) == 1 + 19 + 3  # 19 = 40 positions / 2 - 1
    assert last[-4] == BEGIN + 50


def test_the_initial_prompt_is_given_to_every_window() -> None:
    _, model, _ = run(saying(BEGIN, 1, BEGIN + 50), 2 * WINDOW, prompt=(8, 9))
    assert prompts(model) == [(PREVIOUS, 8, 9, START, ENGLISH, TRANSCRIBE)] * 2


def test_text_of_a_high_temperature_is_not_given_to_the_next_window() -> None:
    def script(cross: Any, prefix: tuple[int, ...]) -> Floats:
        second_window = int(cross[0, 0]) > WINDOW
        sampled = after_prompt(prefix)
        if not second_window or not sampled:
            return sure((BEGIN, 1, BEGIN + 50, END)[len(sampled)])
        # Forty likely words: a log-probability under the threshold at every temperature.
        return row(*((token, 5.0) for token in range(40))) if len(sampled) < 6 else sure(END)

    options = {"condition_on_previous_text": True, "prompt": (9,), "temperature": (0.0, 1.0)}
    _, model, _ = run(script, 3 * WINDOW, **options)
    start = (START, ENGLISH, TRANSCRIBE)
    assert prompts(model) == [
        (PREVIOUS, 9, *start),
        (PREVIOUS, 9, BEGIN, 1, BEGIN + 50, *start),
        (PREVIOUS, 9, *start),
    ]
    _, model, _ = run(script, 3 * WINDOW, **options, prompt_reset_on_temperature=1.0)
    assert len(prompts(model)[-1]) > len(prompts(model)[1])


def test_statistics_count_what_was_done() -> None:
    transcription, _, _ = run(saying(BEGIN, 1, BEGIN + 50), 2 * WINDOW)
    statistics = transcription.info.statistics
    assert (statistics.windows, statistics.tokens, statistics.fallbacks) == (2, 8, 0)
    assert statistics.first_token_seconds is not None
    assert statistics.encoder_seconds > 0
    assert statistics.decoder_seconds > 0
    assert transcription.info.duration == 4.0


class Encoded:
    """What an encoder gives out, tens of megabytes in a real one."""

    def __init__(self, window: Floats) -> None:
        self.window = window


class OneAtATime(ScriptedEncoder):
    """Checks that nothing holds an earlier window when the next is encoded."""

    def __init__(self) -> None:
        super().__init__()
        self._given: list[weakref.ref[Encoded]] = []

    def run(self, log_mel: Floats) -> Any:
        assert all(reference() is None for reference in self._given)
        encoded = Encoded(log_mel)
        self._given.append(weakref.ref(encoded))
        self.windows.append(log_mel)
        return encoded


@pytest.mark.parametrize("language", ["en", None])
def test_one_encoded_window_is_held_at_a_time(language: str | None) -> None:
    encoder = OneAtATime()
    model = Model(
        encoder, ScriptedDecoder(saying(BEGIN, 5, BEGIN + 9)), VOCABULARY, DIMENSIONS, TOKENS, AUDIO
    )
    options = DecodingOptions(language=language)
    list(Transcription(model, Frames(3 * WINDOW), options).segments())
    assert len(encoder.windows) >= 3
