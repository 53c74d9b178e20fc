"""The bundled recordings: token for token what transformers makes of the same checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import soundfile

from edgewhisper.runtime.transcriber import DecodingOptions, Transcriber
from tests.conftest import BundledRecording

# Transformers decodes greedily and skips nothing unless it is told to.
GREEDY = {
    "temperature": 0.0,
    "no_speech_threshold": None,
    "logprob_threshold": None,
    "compression_ratio_threshold": None,
}


class Oracle:
    """transformers' WhisperForConditionalGeneration and its processor."""

    def __init__(self, checkpoint: Path) -> None:
        import torch
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        self._model = WhisperForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
        self._processor = WhisperProcessor.from_pretrained(checkpoint)
        self._frames = 2 * self._model.config.max_source_positions
        self._first_special = self._model.generation_config.eos_token_id
        self._timestamp_begin = self._model.generation_config.no_timestamps_token_id + 1

    def tokens(self, path: Path, language: str, timestamps: bool) -> list[int]:
        """The tokens of a recording: text, and timestamps where asked for."""
        samples, rate = soundfile.read(path, dtype="float32")
        features = self._processor(
            samples, sampling_rate=rate, return_tensors="pt", truncation=False, padding="longest"
        ).input_features
        if features.shape[-1] <= self._frames:
            features = self._processor(samples, sampling_rate=rate, return_tensors="pt").input_features
        if timestamps:
            return self._generate(features, language, True)
        windows = range(0, features.shape[-1], self._frames)
        return [
            token for at in windows for token in self._generate(self._window(features, at), language, False)
        ]

    def _window(self, features: Any, start: int) -> Any:
        import torch

        piece = features[..., start : start + self._frames]
        return torch.nn.functional.pad(piece, (0, self._frames - piece.shape[-1]))

    def _generate(self, features: Any, language: str, timestamps: bool) -> list[int]:
        generated = self._model.generate(
            features,
            language=language,
            task="transcribe",
            return_timestamps=timestamps,
            temperature=0.0,
            return_segments=True,
            attention_mask=None,
        )
        segments = [segment["tokens"].tolist() for segment in generated["segments"][0]]
        # A segment without text is not given out.
        with_text = [tokens for tokens in segments if any(token < self._first_special for token in tokens)]
        kept = [token for tokens in with_text for token in tokens]
        return [token for token in kept if token < self._first_special or token >= self._timestamp_begin]


@pytest.fixture(scope="module")
def oracle(demo_checkpoint: Path) -> Oracle:
    return Oracle(demo_checkpoint)


@pytest.fixture(scope="module")
def transcriber(demo_artifact: Path) -> Transcriber:
    return Transcriber(demo_artifact, threads=2)


def compare(
    recordings: Sequence[BundledRecording],
    oracle: Oracle,
    transcriber: Transcriber,
    timestamps: bool,
) -> None:
    for recording in recordings:
        options = DecodingOptions(language=recording.language or "en", timestamps=timestamps, **GREEDY)  # type: ignore[arg-type]
        segments, _ = transcriber.transcribe(recording.path, options)
        actual = [token for segment in segments for token in segment.tokens]
        expected = oracle.tokens(recording.path, recording.language or "en", timestamps)
        assert actual == expected, recording.path.name


@pytest.mark.parametrize("timestamps", [True, False], ids=["timestamps", "no timestamps"])
def test_some_recordings_give_the_tokens_of_transformers(
    recordings: Sequence[BundledRecording],
    oracle: Oracle,
    transcriber: Transcriber,
    timestamps: bool,
) -> None:
    compare(recordings[::8], oracle, transcriber, timestamps)


@pytest.mark.slow
@pytest.mark.parametrize("timestamps", [True, False], ids=["timestamps", "no timestamps"])
def test_all_recordings_give_the_tokens_of_transformers(
    recordings: Sequence[BundledRecording],
    oracle: Oracle,
    transcriber: Transcriber,
    timestamps: bool,
) -> None:
    compare(recordings, oracle, transcriber, timestamps)
