"""Temperature fallback and the no-speech rule, on scripted logits."""

import time
import zlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.runtime.decoding import Decoded, DecodingLoop
from edgewhisper.runtime.fallback import FallbackDecoder, WindowText, compression_ratio
from edgewhisper.runtime.options import DecodingOptions, Statistics
from tests.scripted import (
    AUDIO,
    END,
    ENGLISH,
    NO_SPEECH,
    START,
    TOKENS,
    TRANSCRIBE,
    VOCABULARY,
    Floats,
    Script,
    ScriptedDecoder,
    after_prompt,
    row,
    saying,
)

PROMPT = (START, ENGLISH, TRANSCRIBE)


def decode(script: Script, options: DecodingOptions) -> tuple[WindowText, Statistics, ScriptedDecoder]:
    statistics, decoder = Statistics(), ScriptedDecoder(script)
    loop = DecodingLoop(
        decoder, TOKENS, (), max_tokens=None, statistics=statistics, started=time.perf_counter()
    )
    return (
        FallbackDecoder(loop, VOCABULARY, AUDIO, options, statistics).decode(None, PROMPT),
        statistics,
        decoder,
    )


def with_no_speech(script: Script, logit: float) -> Script:
    def changed(cross: Any, prefix: tuple[int, ...]) -> Floats:
        return row((NO_SPEECH, logit)) if prefix[-1] == START else script(cross, prefix)

    return changed


def unsure(cross: Any, prefix: tuple[int, ...]) -> Floats:
    """Two words of probability about e^-4 each, then the end."""
    return row((1, 1.0)) if len(after_prompt(prefix)) < 2 else row((END, 3.0))


def repetitive(cross: Any, prefix: tuple[int, ...]) -> Floats:
    return row((1, 20.0)) if len(after_prompt(prefix)) < 30 else row((END, 20.0))


def test_sure_text_is_taken_at_once() -> None:
    window, statistics, _ = decode(saying(1, 2), DecodingOptions())
    assert (window.decoded.tokens, window.decoded.temperature) == ((1, 2), 0.0)
    assert statistics.fallbacks == 0


@pytest.mark.parametrize("script", [unsure, repetitive])
def test_bad_text_is_tried_at_every_temperature(script: Script) -> None:
    options = DecodingOptions(temperature=(0.0, 0.01, 0.02))
    window, statistics, decoder = decode(script, options)
    assert window.decoded.temperature == 0.02
    assert statistics.fallbacks == 2
    assert decoder.calls.count(PROMPT) == 1


@pytest.mark.parametrize("script", [unsure, repetitive])
def test_without_thresholds_there_is_no_fallback(script: Script) -> None:
    options = DecodingOptions(compression_ratio_threshold=None, logprob_threshold=None)
    assert decode(script, options)[0].decoded.temperature == 0.0


def test_silence_is_not_tried_again_and_dropped() -> None:
    window, statistics, _ = decode(with_no_speech(unsure, 20.0), DecodingOptions())
    assert window.is_silent
    assert statistics.fallbacks == 0


def test_sure_text_is_not_silence_whatever_the_no_speech_probability() -> None:
    window, _, _ = decode(with_no_speech(saying(1, 2), 20.0), DecodingOptions())
    assert not window.is_silent


def test_unsure_text_is_not_silence_without_no_speech() -> None:
    window, _, _ = decode(with_no_speech(unsure, -20.0), DecodingOptions(temperature=0.0))
    assert not window.is_silent


def test_equal_seeds_give_equal_text() -> None:
    options = DecodingOptions(temperature=(0.5, 1.0), seed=3)
    assert decode(unsure, options)[0] == decode(unsure, options)[0]


probabilities = st.one_of(st.sampled_from((0.6, 0.0, 1.0)), st.floats(0, 1))
log_probabilities = st.one_of(st.just(-1.0), st.floats(-3, 0))
results = st.tuples(st.sampled_from((" a", " ab" * 30, " a b c d", "")), log_probabilities)


@given(
    attempts=st.lists(results, min_size=3, max_size=3),
    no_speech=probabilities,
    logprob_threshold=st.sampled_from((None, -1.0)),
    no_speech_threshold=st.sampled_from((None, 0.6)),
    ratio_threshold=st.sampled_from((None, 2.4)),
)
def test_decisions_are_those_of_openai_whisper(
    attempts: list[tuple[str, float]],
    no_speech: float,
    logprob_threshold: float | None,
    no_speech_threshold: float | None,
    ratio_threshold: float | None,
) -> None:
    """Which attempt is taken, and whether it is dropped, as its `transcribe` decides for the same results."""
    temperatures = (0.0, 0.4, 0.8)
    options = DecodingOptions(
        temperature=temperatures,
        logprob_threshold=logprob_threshold,
        no_speech_threshold=no_speech_threshold,
        compression_ratio_threshold=ratio_threshold,
    )
    texts = {(attempt,): text for attempt, (text, _) in enumerate(attempts)}

    class Loop:
        def prefill(self, cross: Any, prompt: Any) -> None: ...

        def run(self, prefilled: None, temperature: float, generator: Any) -> Decoded:
            attempt = temperatures.index(temperature)
            return Decoded((attempt,), attempts[attempt][1], no_speech, temperature)

    vocabulary: Any = SimpleNamespace(text=lambda tokens: texts[tokens])
    loop: Any = Loop()
    window = FallbackDecoder(loop, vocabulary, AUDIO, options, Statistics()).decode(None, PROMPT)

    expected, dropped = openai_decision(attempts, temperatures, no_speech, options)
    assert (window.decoded.temperature, window.is_silent) == (expected, dropped)


def openai_decision(
    attempts: list[tuple[str, float]],
    temperatures: tuple[float, ...],
    no_speech: float,
    options: DecodingOptions,
) -> tuple[float, bool]:
    """Runs openai-whisper's `transcribe` on one window whose decodings are given."""
    transcribe = pytest.importorskip("whisper.transcribe")
    import torch

    used: list[float] = []

    def decode(segment: Any, decoding_options: Any) -> Any:
        used.append(decoding_options.temperature)
        text, logprob = attempts[temperatures.index(decoding_options.temperature)]
        return SimpleNamespace(
            tokens=[1],
            temperature=decoding_options.temperature,
            avg_logprob=logprob,
            no_speech_prob=no_speech,
            compression_ratio=len(text.strip().encode()) / len(zlib.compress(text.strip().encode())),
        )

    tokenizer = SimpleNamespace(
        eot=END, timestamp_begin=109, decode=lambda tokens: "text", encode=lambda text: [], language="en"
    )
    model = SimpleNamespace(
        device=torch.device("cpu"),
        dims=SimpleNamespace(n_mels=80, n_audio_ctx=1500, n_text_ctx=448),
        is_multilingual=False,
        num_languages=99,
        decode=decode,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transcribe, "get_tokenizer", lambda *args, **kwargs: tokenizer)
        patch.setattr(transcribe, "log_mel_spectrogram", lambda audio, n_mels, padding: torch.zeros(80, 3100))
        result = transcribe.transcribe(
            model,
            np.zeros(16_000, np.float32),
            temperature=temperatures,
            logprob_threshold=options.logprob_threshold,
            no_speech_threshold=options.no_speech_threshold,
            compression_ratio_threshold=options.compression_ratio_threshold,
            fp16=False,
        )
    return used[-1], not result["segments"]


@pytest.mark.parametrize("text", ["", " a", " the same words" * 20, " \N{GREEK SMALL LETTER ALPHA}" * 9])
def test_compression_ratio_is_that_of_openai_whisper(text: str) -> None:
    utils = pytest.importorskip("whisper.utils")
    assert compression_ratio(text) == utils.compression_ratio(text.strip())
