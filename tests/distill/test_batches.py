"""Batches: the same at every run, everything the decoder must learn at the position where Whisper asks for it."""

import random
from collections.abc import Sequence
from itertools import islice

import numpy as np
import pytest
import torch
from transformers import WhisperTokenizer

from edgewhisper.distill.architecture import ENCODER_POSITIONS, MAX_TARGET_POSITIONS
from edgewhisper.distill.batches import IGNORED, Batch, BatchMaker, plan
from edgewhisper.distill.corpus import Transcribed
from edgewhisper.distill.demo import BUNDLE
from edgewhisper.distill.espeak import Word
from edgewhisper.distill.features import MEL_BINS, LogMel
from edgewhisper.distill.recordings import SpokenSentence
from edgewhisper.distill.tokenizer import SpecialTokens, load_tokenizer, special_tokens
from edgewhisper.distill.windows import Window, windows


@pytest.fixture(scope="module")
def tokenizer() -> WhisperTokenizer:
    return load_tokenizer(BUNDLE)


@pytest.fixture(scope="module")
def tokens(tokenizer: WhisperTokenizer) -> SpecialTokens:
    return special_tokens(tokenizer)


def spoken(text: str, start: float, seconds: float, language: str = "en") -> Transcribed:
    """A recording of one sentence, or of nothing."""
    words = text.split()
    step = seconds / max(len(words), 1)
    timed = tuple(Word(word, start + i * step, start + (i + 1) * step) for i, word in enumerate(words))
    frames = np.full((round((start + seconds) * 100), MEL_BINS), 0.5, np.float16)
    return Transcribed(LogMel(frames, -1.0), language, (SpokenSentence(text, timed),) if words else ())


def corpus(count: int = 400) -> list[Window]:
    rng = random.Random(0)
    recordings = [
        spoken("Turn on the light." if i % 5 else "", 0.2, rng.uniform(0.5, 7.5), "de" if i % 2 else "en")
        for i in range(count)
    ]
    return [window for recording in recordings for window in windows(recording, rng)]


def rows(batch: Batch) -> list[tuple[list[int], list[int]]]:
    return list(zip(batch.inputs.tolist(), batch.labels.tolist(), strict=True))


def batches(maker: BatchMaker, heard: Sequence[Window], count: int) -> list[Batch]:
    return [maker.make(step, number) for number, step in enumerate(plan(heard, count, seed=1))]


def test_a_plan_has_the_asked_number_of_steps_and_depends_on_the_seed_alone() -> None:
    heard = corpus()
    first = list(plan(heard, 120, seed=1))
    assert len(first) == 120
    assert first == list(plan(heard, 120, seed=1))
    assert first != list(plan(heard, 120, seed=2))


def test_short_windows_come_first_and_the_whole_window_late() -> None:
    steps = list(plan(corpus(), 200, seed=1))
    assert max(step.positions for step in steps[1:6]) <= ENCODER_POSITIONS
    narrow = [window.frames // 2 for step in steps[:6] for window in (corpus()[i] for i in step.windows)]
    assert max(narrow) <= 125
    late = [step.positions == ENCODER_POSITIONS for step in steps[150:]]
    assert 0.3 < sum(late) / len(late) <= 0.8


def test_resumed_training_sees_the_same_tensors(tokenizer: WhisperTokenizer, tokens: SpecialTokens) -> None:
    heard = corpus()
    whole = batches(BatchMaker(heard, tokenizer, tokens, seed=3), heard, 12)
    resumed = BatchMaker(heard, tokenizer, tokens, seed=3)
    for number, step in islice(enumerate(plan(heard, 12, seed=1)), 8, None):
        again = resumed.make(step, number)
        assert torch.equal(again.features, whole[number].features)
        assert torch.equal(again.inputs, whole[number].inputs)
        assert torch.equal(again.labels, whole[number].labels)


def test_the_parts_of_a_batch_are_equally_large_and_make_up_the_whole(
    tokenizer: WhisperTokenizer, tokens: SpecialTokens
) -> None:
    heard = corpus()
    maker = BatchMaker(heard, tokenizer, tokens, seed=3)
    for number, step in enumerate(plan(heard, 5, seed=1)):
        parts = [maker.make(step, number, part, 2) for part in range(2)]
        assert [len(part.inputs) for part in parts] == [len(step.windows) // 2] * 2


def test_labels_are_the_next_inputs(tokenizer: WhisperTokenizer, tokens: SpecialTokens) -> None:
    heard = corpus()
    for batch in batches(BatchMaker(heard, tokenizer, tokens, seed=3), heard, 10):
        for inputs, labels in rows(batch):
            for position, label in enumerate(labels[:-1]):
                if label not in (IGNORED, tokens.no_speech, tokens.end_of_text):
                    assert inputs[position + 1] == label


def test_speech_is_answered_by_its_language_and_silence_by_no_speech_after_start_of_transcript(
    tokenizer: WhisperTokenizer, tokens: SpecialTokens
) -> None:
    heard = corpus()
    answers = set()
    for batch in batches(BatchMaker(heard, tokenizer, tokens, seed=3), heard, 10):
        for inputs, labels in rows(batch):
            start = inputs.index(tokens.start_of_transcript)
            after = [token for token in inputs[start + 3 :] if token < tokens.end_of_text]
            expected = inputs[start + 1] if after else tokens.no_speech
            assert labels[start] == expected
            answers.add(labels[start])
    assert answers == {*tokens.languages.values(), tokens.no_speech}


def test_every_transcript_ends_with_end_of_text_and_a_prompt_is_never_asked_for(
    tokenizer: WhisperTokenizer, tokens: SpecialTokens
) -> None:
    heard = corpus()
    prompts = 0
    for batch in batches(BatchMaker(heard, tokenizer, tokens, seed=3), heard, 20):
        assert batch.inputs.shape[1] <= MAX_TARGET_POSITIONS
        for inputs, labels in rows(batch):
            asked = [label for label in labels if label != IGNORED]
            assert asked[-1] == tokens.end_of_text
            start = inputs.index(tokens.start_of_transcript)
            assert set(labels[:start]) <= {IGNORED}
            prompts += start > 0 and inputs[0] == tokens.start_of_previous
    assert prompts > 0


def test_timestamps_enclose_the_sentence(tokenizer: WhisperTokenizer, tokens: SpecialTokens) -> None:
    heard = list(windows(spoken("Hello there.", 0.5, 1.0), random.Random(0))) * 120
    timed = 0
    for batch in batches(BatchMaker(heard, tokenizer, tokens, seed=3), heard, 3):
        for inputs, labels in rows(batch):
            asked = [label for label in labels if label != IGNORED]
            if tokens.no_timestamps not in inputs:
                timed += 1
                assert tokenizer.decode(asked[2:], decode_with_timestamps=True) == (
                    "<|0.50|> Hello there.<|1.50|><|endoftext|>"
                )
    assert timed > 0


def test_what_follows_the_recording_is_its_padding(
    tokenizer: WhisperTokenizer, tokens: SpecialTokens
) -> None:
    heard = list(windows(spoken("Hello there.", 0.5, 1.0), random.Random(0))) * 120
    maker = BatchMaker(heard, tokenizer, tokens, seed=3)
    batch = maker.make(next(plan(heard, 3, seed=1)), 0)
    values = torch.unique(batch.features, return_counts=True)
    common = sorted(value for value, _ in sorted(zip(*values, strict=True), key=lambda pair: -pair[1])[:2])
    assert [float(value) for value in common] == [-1.0, 0.5]
