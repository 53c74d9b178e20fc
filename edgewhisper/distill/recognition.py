"""Transcription by transformers' `generate`, the reference for every later engine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from transformers import WhisperForConditionalGeneration, WhisperTokenizer

from .espeak import SAMPLE_RATE
from .features import FULL_SCALE, feature_extractor
from .recordings import WINDOW_SECONDS
from .tokenizer import special_tokens

_BATCH = 32


@dataclass(frozen=True)
class Hypothesis:
    """What the model made of a recording."""

    text: str
    language: str
    """The language the model detected."""


def transcribe(
    model: WhisperForConditionalGeneration,
    tokenizer: WhisperTokenizer,
    recordings: Sequence[npt.NDArray[np.int16]],
) -> list[Hypothesis]:
    """Transcribes 16 kHz PCM greedily, language detected.

    Recordings of at most one window are decoded without timestamps, longer ones by the sequential algorithm.
    """
    window = round(WINDOW_SECONDS * SAMPLE_RATE)
    hypotheses: dict[int, Hypothesis] = {}
    short = [index for index, samples in enumerate(recordings) if len(samples) <= window]
    for first in range(0, len(short), _BATCH):
        batch = short[first : first + _BATCH]
        features = _features([recordings[index] for index in batch], whole=False)
        hypotheses.update(zip(batch, _decode(model, tokenizer, features, timestamps=False), strict=True))
    for index, samples in enumerate(recordings):
        if len(samples) > window:
            features = _features([samples], whole=True)
            hypotheses[index] = _decode(model, tokenizer, features, timestamps=True)[0]
    return [hypotheses[index] for index in range(len(recordings))]


def _features(recordings: Sequence[npt.NDArray[np.int16]], whole: bool) -> torch.Tensor:
    """(batch, mel bins, frames): of one window, or of a whole long recording."""
    waveforms = [samples.astype(np.float32) * FULL_SCALE for samples in recordings]
    batch = feature_extractor()(
        waveforms,
        sampling_rate=SAMPLE_RATE,
        padding="longest" if whole else "max_length",
        truncation=not whole,
        return_tensors="pt",
    )
    features: torch.Tensor = batch.input_features
    return features


@torch.no_grad()
def _decode(
    model: WhisperForConditionalGeneration,
    tokenizer: WhisperTokenizer,
    features: torch.Tensor,
    timestamps: bool,
) -> list[Hypothesis]:
    codes = {token: language for language, token in special_tokens(tokenizer).languages.items()}
    window = features[:, :, : 2 * model.config.max_source_positions]
    detected = model.detect_language(input_features=window)
    outputs = model.generate(features, return_timestamps=timestamps)
    texts = tokenizer.batch_decode(outputs, skip_special_tokens=True)
    return [
        Hypothesis(text.strip(), codes[int(language)]) for text, language in zip(texts, detected, strict=True)
    ]
