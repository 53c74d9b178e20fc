"""Calibration data: what the graphs see when they transcribe real recordings.

Static INT8 fixes its scales by them, and the gate compares graphs on them. The encoder sees windows of many lengths, padded and not,
and silence; the decoder the model's own text after several kinds of prompts.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import AudioSettings
from edgewhisper.errors import AudioError
from edgewhisper.runtime.audio import open_audio
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.decoding import DecodingLoop
from edgewhisper.runtime.encoder import CrossKV, Encoder
from edgewhisper.runtime.features import LogMelStream
from edgewhisper.runtime.language import detect_language
from edgewhisper.runtime.options import DecodingOptions, Statistics
from edgewhisper.runtime.prompt import previous_text_limit, start_sequence
from edgewhisper.runtime.rules import rules_for
from edgewhisper.runtime.session import SessionSettings

from .recordings import BUNDLED_RECORDINGS, checksums, list_recordings, set_checksum
from .source import Source

Floats = NDArray[np.float32]

# How much of a window is recording, window by window; silence follows.
_FILLED = (1.0, 0.3, 0.6, 0.15, 1.0, 0.45, 0.8, 0.07, 1.0, 0.2, 0.7, 0.35)
# Every so many windows is cut where the recording ends, as the encoder takes shorter windows too.
_CUT_EVERY = 4
# Tokens of a window's text; a random checkpoint would go on to the last position.
_MOST_TOKENS = 96
# Below it (-60 dB of full scale) nothing is to be heard.
_SILENCE = 1e-3
# Standard deviation of the noise of a microphone in a quiet room, -80 dB.
_FAINT_NOISE = 1e-4
_SEED = 20_220_921


@dataclass(frozen=True)
class CalibrationSet:
    """Calibration data.

    Attributes:
        windows: log-mel frames [n_mels, frames], frames even.
        sequences: for each window, prompt and text as token ids.
        sha256: of the recordings.
    """

    windows: tuple[Floats, ...]
    sequences: tuple[tuple[int, ...], ...]
    sha256: str


def collect(
    source: Source, folder: Path | None, progress: Callable[[float], None], *, rounds: int = 1
) -> CalibrationSet:
    """Read recordings and let the source's fp32 graphs transcribe them.

    Args:
        source: the fp32 graphs.
        folder: recordings; None: the bundled ones.
        progress: told how much is done, from 0 to 1.
        rounds: how often the windows of every length are taken, each time of other recordings.

    Raises:
        UsageError: the folder is missing, cannot be read, or holds no recording.
        AudioError: a recording cannot be read, or all are silent.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    recordings = list_recordings(folder or BUNDLED_RECORDINGS, "--calibration")
    sums = checksums(recordings)
    # In the order of their checksums, so that neighbours by name, often alike, are not all that is heard.
    mixed = [path for _, path in sorted(zip(sums, recordings, strict=True))]
    windows = tuple(_windows(mixed, source.audio, folder or BUNDLED_RECORDINGS, rounds))
    sequences = tuple(_sequences(source, windows, progress))
    return CalibrationSet(windows, sequences, set_checksum(sums))


def _windows(recordings: Sequence[Path], audio: AudioSettings, folder: Path, rounds: int) -> Iterator[Floats]:
    full = audio.n_frames * audio.hop_length
    samples = _Samples(recordings, audio.sample_rate)
    for index, filled in enumerate(_FILLED * rounds):
        heard = samples.take(round(filled * full))
        frames = audio.n_frames
        if index % _CUT_EVERY == _CUT_EVERY - 1:
            frames = min(frames, max(4, 2 * math.ceil(len(heard) / audio.hop_length / 2)))
        yield log_mel(heard, audio)[:, :frames]
    if samples.loudest < _SILENCE:
        raise AudioError(
            f"{folder}: the recordings are silent; calibration needs speech, name another folder"
        )
    yield log_mel(np.zeros(full, np.float32), audio)
    noise = np.random.default_rng(_SEED).standard_normal(full, np.float32)
    yield log_mel(np.float32(_FAINT_NOISE) * noise, audio)


class _Samples:
    """The samples of recordings one after another, again and again.

    Attributes:
        loudest: the largest magnitude so far.
    """

    def __init__(self, recordings: Sequence[Path], sample_rate: int) -> None:
        self._recordings = itertools.cycle(recordings)
        self._rate = sample_rate
        self.loudest = 0.0

    def take(self, count: int) -> Floats:
        """The beginning of the next recording, and as many more as fill `count` samples."""
        blocks: list[Floats] = []
        missing = max(1, count)
        while missing > 0:
            with open_audio(next(self._recordings), target_rate=self._rate) as stream:
                for block in _limited(stream, missing):
                    blocks.append(block)
                    missing -= len(block)
        samples = np.concatenate(blocks)
        self.loudest = max(self.loudest, float(np.abs(samples).max()))
        return samples


def _limited(blocks: Iterable[Floats], count: int) -> Iterator[Floats]:
    for block in blocks:
        yield block[:count]
        count -= len(block)
        if count <= 0:
            return


def log_mel(samples: Floats, audio: AudioSettings) -> Floats:
    """One window's log-mel frames [n_mels, n_frames] of at most one window of samples."""
    with open_audio(samples, sample_rate=audio.sample_rate, target_rate=audio.sample_rate) as stream:
        return LogMelStream(stream, audio).window(0, audio.n_frames)[0]


def _sequences(
    source: Source, windows: Sequence[Floats], progress: Callable[[float], None]
) -> Iterator[tuple[int, ...]]:
    """Prompt and greedy text of each window, with and without timestamps and previous text."""
    manifest = source.manifest()
    encoder = Encoder(source.folder, manifest, SessionSettings())
    decoder = Decoder(source.folder, manifest, SessionSettings())
    previous: tuple[int, ...] = ()
    for index, window in enumerate(windows):
        cross = encoder.run(window)
        prompt = window_prompt(source, decoder, cross, timestamps=index % 2 == 1)
        if index % 3 == 2 and previous:
            kept = previous[-previous_text_limit(source.dimensions) :]
            prompt = (source.tokens.start_of_previous, *kept, *prompt)
        text = greedy_text(source, decoder, cross, prompt, timestamps=index % 2 == 1, most=_MOST_TOKENS)
        previous += text
        progress((index + 1) / len(windows))
        yield (*prompt, *text)[: decoder.max_length]


def window_prompt(source: Source, decoder: Decoder, cross: CrossKV, *, timestamps: bool) -> tuple[int, ...]:
    """The start of a window's sequence, with the language that the model hears."""
    language = "en"
    if source.tokens.is_multilingual:
        language, _ = detect_language(decoder, cross, source.tokens)
    return start_sequence(DecodingOptions(timestamps=timestamps), source.tokens, language)


def greedy_text(
    source: Source,
    decoder: Decoder,
    cross: CrossKV,
    prompt: tuple[int, ...],
    *,
    timestamps: bool,
    most: int | None = None,
) -> tuple[int, ...]:
    """The tokens of a window, without end of text; at most `most`."""
    rules = rules_for(DecodingOptions(timestamps=timestamps), source.tokens, source.audio)
    loop = DecodingLoop(
        decoder,
        source.tokens,
        rules,
        max_tokens=most,
        statistics=Statistics(),
        started=time.perf_counter(),
    )
    return loop.run(loop.prefill(cross, prompt), 0.0, np.random.default_rng(_SEED)).tokens
