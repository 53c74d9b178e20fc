"""Training batches: which windows at which step, and the tensors made of them.

Everything depends on the seed and the step alone, so that training resumed at any step sees the same data.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from transformers import WhisperTokenizer

from .architecture import ENCODER_POSITIONS, MAX_TARGET_POSITIONS
from .features import MEL_BINS
from .tokenizer import SpecialTokens
from .windows import Window

IGNORED = -100
"""Label of positions without a loss."""

_POSITIONS_PER_BATCH = 4800
"""Encoder positions of 20 ms in a batch."""

_PARTS = 4
"""Batches divide evenly among up to this many processes."""

_BUCKET = 25
"""Widths are multiples of this: every new shape costs the CPU kernels a set-up."""

_TOKEN_BUCKET = 16
"""The same for the number of tokens."""

_SHORTEST = 75
_MARGIN = 6
"""Encoder positions of padding that a window keeps at least."""

_EASY_STAGES = ((0.03, 125), (0.07, 175))
"""Short windows come first: (share of all steps until which, widest window in encoder positions)."""

_FULL_WIDTH_SHARE = 0.04
_FULL_WIDTH_FROM = 0.75
_FULL_WIDTH_SHARE_LATE = 0.5
"""Share of batches padded to the whole window, as in use; in the last quarter of training half of them."""

_TIMESTAMPS_SHARE = 0.3
_TIMESTAMPS_SHARE_AFTER_SEEK = 0.85
_PROMPT_SHARE = 0.08
_TRANSLATE_SHARE = 0.02
_LONGEST_PROMPT = 56
"""Tokens. `generate` cuts a prompt to half of the decoder's positions."""

_SPEC_AUGMENT_SHARE = 0.8
_WIDEST_BAND = 12
_LONGEST_GAP = 20

_CHARACTERS = " abcdefghijklmnopqrstuvwxyzäöüß'"
CTC_CLASSES = len(_CHARACTERS) + 1
"""The characters and CTC's blank, which is class 0."""

_CHARACTER_CLASSES = {character: index + 1 for index, character in enumerate(_CHARACTERS)}


@dataclass(frozen=True)
class Step:
    """The windows of one batch and the width to which they are padded."""

    windows: tuple[int, ...]
    positions: int


@dataclass(frozen=True)
class Batch:
    features: torch.Tensor
    """(batch, mel bins, 2 x positions)."""

    inputs: torch.Tensor
    """(batch, tokens): what the decoder reads."""

    labels: torch.Tensor
    """(batch, tokens): what it should say next, `IGNORED` where nothing is asked."""

    characters: torch.Tensor
    """(sum of lengths): all texts for the CTC loss, one after the other."""

    character_counts: torch.Tensor
    """(batch,)."""


@dataclass(frozen=True)
class _Sequence:
    inputs: list[int]
    labels: list[int]


def plan(windows: Sequence[Window], steps: int, seed: int) -> Iterator[Step]:
    """Yields exactly `steps` batches of windows of similar length."""
    rng = random.Random(seed)
    widths = [_width(window) for window in windows]
    buckets: dict[int, list[int]] = {}
    step = 0
    while True:
        widest = next((width for share, width in _EASY_STAGES if step < share * steps), ENCODER_POSITIONS)
        order = [index for index, width in enumerate(widths) if width <= widest]
        rng.shuffle(order)
        for index in order:
            width = widths[index]
            bucket = buckets.setdefault(width, [])
            bucket.append(index)
            if len(bucket) < _batch_size(width):
                continue
            late = step >= _FULL_WIDTH_FROM * steps
            if rng.random() < (_FULL_WIDTH_SHARE_LATE if late else _FULL_WIDTH_SHARE):
                width = ENCODER_POSITIONS
            yield Step(tuple(bucket[: _batch_size(width)]), width)
            bucket.clear()
            step += 1
            if step == steps:
                return
            if any(step == round(share * steps) for share, _ in _EASY_STAGES):
                break


def _batch_size(width: int) -> int:
    return _POSITIONS_PER_BATCH // width // _PARTS * _PARTS


def _width(window: Window) -> int:
    needed = window.frames // 2 + _MARGIN
    return min(max(-(-needed // _BUCKET) * _BUCKET, _SHORTEST), ENCODER_POSITIONS)


class BatchMaker:
    """Turns planned steps into tensors."""

    def __init__(
        self, windows: Sequence[Window], tokenizer: WhisperTokenizer, tokens: SpecialTokens, seed: int
    ) -> None:
        self._windows = windows
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._seed = seed
        self._text_tokens: dict[str, list[int]] = {}

    def make(self, step: Step, number: int, part: int = 0, parts: int = 1) -> Batch:
        """The tensors of step `number`, or one of several equal parts, augmented by a random state of its own."""
        rng = random.Random((self._seed * 1_000_003 + number) * _PARTS + part)
        chosen = [self._windows[index] for index in step.windows[part::parts]]
        features = np.stack([_augmented(_padded(window, 2 * step.positions), rng) for window in chosen])
        sequences = [self._sequence(window, rng.choice(chosen), rng) for window in chosen]
        longest = -(-max(len(sequence.inputs) for sequence in sequences) // _TOKEN_BUCKET) * _TOKEN_BUCKET
        inputs = torch.full((len(chosen), longest), self._tokens.end_of_text)
        labels = torch.full((len(chosen), longest), IGNORED)
        for row, sequence in enumerate(sequences):
            inputs[row, : len(sequence.inputs)] = torch.tensor(sequence.inputs)
            labels[row, : len(sequence.labels)] = torch.tensor(sequence.labels)
        characters = [_character_classes(window.text) for window in chosen]
        return Batch(
            features=torch.from_numpy(features).transpose(1, 2),
            inputs=inputs,
            labels=labels,
            characters=torch.tensor([value for classes in characters for value in classes], dtype=torch.long),
            character_counts=torch.tensor([len(classes) for classes in characters]),
        )

    def _sequence(self, window: Window, other: Window, rng: random.Random) -> _Sequence:
        """Prompt, control tokens and transcript of a window; `other` lends its text where nothing went before."""
        tokens = self._tokens
        language = tokens.languages[window.recording.language]
        task = tokens.translate if rng.random() < _TRANSLATE_SHARE else tokens.transcribe
        share = _TIMESTAMPS_SHARE_AFTER_SEEK if window.timestamps_only else _TIMESTAMPS_SHARE
        if rng.random() < share:
            control, transcript = [tokens.start_of_transcript, language, task], self._timed(window)
        else:
            control, transcript = (
                [tokens.start_of_transcript, language, task, tokens.no_timestamps],
                [*self._encode(window.text), tokens.end_of_text],
            )
        prompt: list[int] = []
        if rng.random() < _PROMPT_SHARE:
            prompt = [
                tokens.start_of_previous, *self._encode(window.previous or other.text)[-_LONGEST_PROMPT:]
            ]  # fmt: skip
        asked = [language, task] if window.segments else [tokens.no_speech, IGNORED]
        silent = [IGNORED] * (len(control) - 3)
        labels = [IGNORED] * len(prompt) + asked + silent + transcript
        inputs = [*prompt, *control, *transcript[:-1]]
        return _Sequence(inputs[:MAX_TARGET_POSITIONS], labels[:MAX_TARGET_POSITIONS])

    def _timed(self, window: Window) -> list[int]:
        """The transcript with timestamps, up to and including end-of-text.

        Nothing said is `<|0.00|>`: Whisper's rules ask for a timestamp at the beginning.
        """
        tokens = self._tokens
        if not window.segments:
            return [tokens.timestamp(0.0), tokens.end_of_text]
        transcript: list[int] = []
        for segment in window.segments:
            transcript += [tokens.timestamp(segment.start), *self._encode(segment.text)]
            if segment.end is not None:
                transcript.append(tokens.timestamp(segment.end))
        return [*transcript, tokens.end_of_text]

    def _encode(self, text: str) -> list[int]:
        if not text:
            return []
        if text not in self._text_tokens:
            encoded = self._tokenizer(f" {text}", add_special_tokens=False).input_ids
            self._text_tokens[text] = [int(token) for token in encoded]
        return self._text_tokens[text]


def _padded(window: Window, frames: int) -> npt.NDArray[np.float32]:
    """Features of a window, (frames, mel bins), followed by the recording's padding value."""
    features = window.recording.features
    padded = np.full((frames, MEL_BINS), features.padding, np.float32)
    used = min(window.frames, frames)
    padded[:used] = features.frames[window.first_frame : window.first_frame + used]
    return padded


def _augmented(features: npt.NDArray[np.float32], rng: random.Random) -> npt.NDArray[np.float32]:
    """SpecAugment without time warping (Park et al., 2019): up to two bands and two gaps become the mean."""
    if rng.random() >= _SPEC_AUGMENT_SHARE:
        return features
    mean = features.mean()
    for _ in range(2):
        width = rng.randint(0, _WIDEST_BAND)
        first = rng.randint(0, features.shape[1] - width)
        features[:, first : first + width] = mean
    for _ in range(rng.randint(0, 2)):
        length = rng.randint(0, _LONGEST_GAP)
        first = rng.randint(0, features.shape[0] - length)
        features[first : first + length] = mean
    return features


def _character_classes(text: str) -> list[int]:
    lowered = text.lower().replace("-", " ")
    return [_CHARACTER_CLASSES[character] for character in lowered if character in _CHARACTER_CLASSES]
