"""Whole transcriptions against transformers' `generate`, token for token, on the same scripted logits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewhisper.runtime.options import DecodingOptions, Segment
from edgewhisper.runtime.transcription import Model, Transcription
from tests.scripted import (
    AUDIO,
    BEGIN,
    DIMENSIONS,
    END,
    NO_SPEECH,
    NO_TIMESTAMPS,
    PREVIOUS,
    START,
    TOKENS,
    TRANSCRIBE,
    TRANSLATE,
    VOCAB_SIZE,
    VOCABULARY,
    Floats,
    Frames,
    ScriptedDecoder,
    ScriptedEncoder,
)


@dataclass(frozen=True)
class Logits:
    """Random logits that depend on the window and on every token before; shaped so that windows have a few segments."""

    seed: int
    timestamp_bias: float
    end_bias: float
    no_speech_bias: float = 0.0

    def __call__(self, window: Floats, prefix: tuple[int, ...]) -> Floats:
        random = np.random.default_rng([self.seed, int(window[0, 0]), *prefix])
        logits = random.normal(0, 3, VOCAB_SIZE).astype(np.float32)
        logits[BEGIN:] += self.timestamp_bias
        logits[END] += self.end_bias
        logits[NO_SPEECH] += self.no_speech_bias
        return logits


scripts = st.builds(
    Logits,
    st.integers(0, 2**32),
    st.sampled_from((-9.0, -6.0, -4.0, -2.0, 0.0)),
    st.sampled_from((0.0, 4.0, 7.0)),
    st.sampled_from((0.0, 8.0)),
)


def oracle(
    script: Logits, total_frames: int, n_frames: int = AUDIO.n_frames, **options: Any
) -> tuple[list[Any], list[int]]:
    """Segments of `generate`, and the first frame of every window that it encoded."""
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration
    from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

    encoded: list[int] = []

    class PassOn(torch.nn.Module):
        def __init__(self, encoder: Any) -> None:
            super().__init__()
            self.conv1, self.conv2, self.main_input_name = encoder.conv1, encoder.conv2, "input_features"

        def forward(self, input_features: torch.Tensor, **_: Any) -> BaseModelOutput:
            encoded.append(int(input_features[0, 0, 0]))
            return BaseModelOutput(last_hidden_state=input_features)

    class Scripted(WhisperForConditionalGeneration):  # type: ignore[misc]
        def forward(  # type: ignore[no-untyped-def]
            self, input_features=None, decoder_input_ids=None, encoder_outputs=None, **_: Any
        ) -> Seq2SeqLMOutput:
            window = (input_features if encoder_outputs is None else encoder_outputs[0])[0].numpy()
            prefix = tuple(decoder_input_ids[0].tolist())
            rows = [script(window, prefix[: i + 1]) for i in range(len(prefix))]
            return Seq2SeqLMOutput(logits=torch.from_numpy(np.stack(rows))[None])

    d = DIMENSIONS
    config = WhisperConfig(
        vocab_size=VOCAB_SIZE, num_mel_bins=d.n_mels, d_model=d.d_model, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        max_source_positions=d.max_source_positions, max_target_positions=d.max_target_positions,
        pad_token_id=END, bos_token_id=END, eos_token_id=END, decoder_start_token_id=START,
    )  # fmt: skip
    model = Scripted(config).eval()
    model.model.encoder = PassOn(model.model.encoder)
    model.generation_config = GenerationConfig(
        pad_token_id=END, bos_token_id=END, eos_token_id=END, decoder_start_token_id=START,
        max_length=d.max_target_positions, is_multilingual=True, no_timestamps_token_id=NO_TIMESTAMPS,
        lang_to_id={f"<|{code}|>": token for code, token in TOKENS.languages.items()},
        task_to_id={"transcribe": TRANSCRIBE, "translate": TRANSLATE}, prev_sot_token_id=PREVIOUS,
        suppress_tokens=list(TOKENS.suppress), begin_suppress_tokens=list(TOKENS.begin_suppress),
        max_initial_timestamp_index=TOKENS.max_initial_timestamp_index,
    )  # fmt: skip
    log_mel = np.zeros((1, d.n_mels, max(total_frames, n_frames)), np.float32)
    log_mel[:, :, :total_frames] = np.arange(1, total_frames + 1)
    generated = model.generate(
        torch.from_numpy(log_mel),
        temperature=0.0,
        return_segments=True,
        use_cache=False,
        **{"task": "transcribe", "return_timestamps": True, **options},
    )
    return generated["segments"][0], encoded


def ours(
    script: Logits, total_frames: int, options: DecodingOptions, prompt: tuple[int, ...] = ()
) -> tuple[list[Segment], list[int]]:
    encoder = ScriptedEncoder()
    model = Model(encoder, ScriptedDecoder(script), VOCABULARY, DIMENSIONS, TOKENS, AUDIO)
    segments = list(Transcription(model, Frames(total_frames), options, prompt=prompt).segments())
    return segments, [int(window[0, 0]) for window in encoder.windows]


def compare(segments: list[Segment], expected: list[Any], duration: float) -> None:
    with_text = [item for item in expected if any(token < END for token in item["tokens"].tolist())]
    assert [list(segment.tokens) for segment in segments] == [item["tokens"].tolist() for item in with_text]
    for segment, item in zip(segments, with_text, strict=True):
        assert segment.start == pytest.approx(min(float(item["start"]), duration), abs=1e-3)
        # transformers rounds the end of a window without timestamps down to 0.02 s; beyond the recording lies nothing.
        assert segment.end == pytest.approx(min(float(item["end"]), duration), abs=0.0201)


GREEDY = DecodingOptions(
    language="en",
    temperature=0.0,
    logprob_threshold=None,
    no_speech_threshold=None,
    compression_ratio_threshold=None,
)


def replaced(**changes: Any) -> DecodingOptions:
    import dataclasses

    return dataclasses.replace(GREEDY, **changes)


lengths = st.integers(1, 5 * AUDIO.n_frames)


@given(script=scripts, total_frames=lengths)
@settings(max_examples=60)
def test_segments_are_those_of_transformers(script: Logits, total_frames: int) -> None:
    expected, encoded = oracle(script, total_frames, language="en")
    segments, windows = ours(script, total_frames, GREEDY)
    compare(segments, expected, total_frames / 100)
    assert windows == encoded


@given(script=scripts, total_frames=lengths, prompt=st.lists(st.integers(0, END - 1), max_size=30))
@settings(max_examples=60)
def test_conditioning_on_previous_text_is_that_of_transformers(
    script: Logits, total_frames: int, prompt: list[int]
) -> None:
    expected, encoded = oracle(
        script, total_frames, language="en", condition_on_prev_tokens=True, **prompt_ids(prompt)
    )
    segments, windows = ours(script, total_frames, replaced(condition_on_previous_text=True), tuple(prompt))
    compare(segments, expected, total_frames / 100)
    assert windows == encoded


@given(
    script=scripts, total_frames=lengths, prompt=st.lists(st.integers(0, END - 1), min_size=1, max_size=19)
)
@settings(max_examples=40)
def test_prompts_are_those_of_transformers(script: Logits, total_frames: int, prompt: list[int]) -> None:
    expected, encoded = oracle(script, total_frames, language="en", **prompt_ids(prompt))
    segments, windows = ours(script, total_frames, GREEDY, tuple(prompt))
    compare(segments, expected, total_frames / 100)
    assert windows == encoded


@given(script=scripts, total_frames=lengths)
@settings(max_examples=40)
def test_silent_windows_are_those_of_transformers(script: Logits, total_frames: int) -> None:
    thresholds: dict[str, Any] = {"logprob_threshold": -1.5, "no_speech_threshold": 0.3}
    expected, encoded = oracle(script, total_frames, language="en", **thresholds)
    segments, windows = ours(script, total_frames, replaced(**thresholds))
    compare(segments, expected, total_frames / 100)
    assert windows == encoded


@given(script=scripts, total_frames=lengths, task=st.sampled_from(("transcribe", "translate")))
@settings(max_examples=40)
def test_the_detected_language_is_that_of_transformers(script: Logits, total_frames: int, task: str) -> None:
    expected, _ = oracle(script, total_frames, task=task)
    segments, _ = ours(script, total_frames, replaced(language=None, task=task))
    compare(segments, expected, total_frames / 100)


@given(script=scripts, total_frames=st.integers(1, AUDIO.n_frames))
@settings(max_examples=40)
def test_one_window_without_timestamps_is_that_of_transformers(script: Logits, total_frames: int) -> None:
    # A model that has learnt the meaning of <|notimestamps|> writes none after it.
    script = Logits(script.seed, -50.0, script.end_bias)
    expected, _ = oracle(script, total_frames, language="en", return_timestamps=False)
    segments, _ = ours(script, total_frames, replaced(timestamps=False))
    assert [list(segment.tokens) for segment in segments] == [
        item["tokens"].tolist() for item in expected if len(item["tokens"])
    ]


def prompt_ids(prompt: list[int]) -> dict[str, Any]:
    import torch

    return {"prompt_ids": torch.tensor([PREVIOUS, *prompt])} if prompt else {}
