"""Windows are cut where Whisper's sequential algorithm cuts them, and no word is lost or said twice."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import WhisperForConditionalGeneration

from edgewhisper.distill.corpus import Transcribed
from edgewhisper.distill.espeak import Word
from edgewhisper.distill.features import FRAMES_PER_SECOND, MEL_BINS, WINDOW_FRAMES, LogMel
from edgewhisper.distill.recordings import SpokenSentence
from edgewhisper.distill.windows import Segment, Window, seek_frames, windows

WINDOW_SECONDS = WINDOW_FRAMES / FRAMES_PER_SECOND
FIRST_TIMESTAMP = 1000


def recording(pauses: list[float], word_lengths: list[list[float]], tail: float = 0.3) -> Transcribed:
    """Sentences of words w0, w1 ... with a pause before each sentence."""
    time, number, spoken = 0.0, 0, []
    for pause, lengths in zip(pauses, word_lengths, strict=True):
        time += pause
        words = []
        for length in lengths:
            words.append(Word(f"w{number}", time, time + length))
            time, number = time + length, number + 1
        spoken.append(SpokenSentence(" ".join(word.text for word in words), tuple(words)))
    frames = np.zeros((int((time + tail) * FRAMES_PER_SECOND), MEL_BINS), np.float16)
    return Transcribed(LogMel(frames, 0.0), "en", tuple(spoken))


def sequential(item: Transcribed) -> list[Window]:
    """The windows without those at random offsets, which come after them."""
    chain, expected = [], 0
    for window in windows(item, random.Random(0)):
        if window.first_frame != expected:
            break
        chain.append(window)
        expected += seek_frames(window.segments)
    return chain


pauses_and_words = st.lists(
    st.tuples(st.floats(0.2, 1.4), st.lists(st.floats(0.15, 0.9), min_size=1, max_size=7)),
    min_size=1,
    max_size=8,
)


@given(pauses_and_words)
def test_the_sequential_windows_say_every_word_at_least_once_and_complete_segments_exactly_once(
    plan: list[tuple[float, list[float]]],
) -> None:
    item = recording([pause for pause, _ in plan], [lengths for _, lengths in plan])
    chain = sequential(item)
    said = [word for window in chain for word in window.text.split()]
    everything = [word.text for sentence in item.sentences for word in sentence.words]
    assert set(said) == set(everything)
    finished = [word for window in chain for segment in window.segments if segment.end is not None
                for word in segment.text.split()]  # fmt: skip
    assert len(finished) == len(set(finished))


@given(pauses_and_words)
def test_seeking_agrees_with_transformers(plan: list[tuple[float, list[float]]]) -> None:
    item = recording([pause for pause, _ in plan], [lengths for _, lengths in plan])
    for window in sequential(item):
        if not window.segments:
            continue
        tokens: list[int] = []
        for segment in window.segments:
            tokens.append(FIRST_TIMESTAMP + round(segment.start / 0.02))
            tokens += [1] * len(segment.text.split())
            if segment.end is not None:
                tokens.append(FIRST_TIMESTAMP + round(segment.end / 0.02))
        _, offset = WhisperForConditionalGeneration._retrieve_segment(
            seek_sequence=torch.tensor(tokens),
            seek_outputs=[torch.tensor(tokens)],
            time_offset=torch.zeros(1, dtype=torch.float64),
            timestamp_begin=FIRST_TIMESTAMP,
            seek_num_frames=torch.tensor([WINDOW_FRAMES]),
            time_precision=0.02,
            time_precision_features=0.01,
            input_stride=2,
            prev_idx=0,
            idx=0,
            return_token_timestamps=False,
            decoder_input_ids=torch.zeros((1, 0), dtype=torch.long),
        )
        assert seek_frames(window.segments) == int(offset)


def test_a_sentence_over_the_windows_end_has_a_start_and_no_end() -> None:
    item = recording([1.0, 1.0], [[1.0] * 4, [1.0] * 4])
    first, second = sequential(item)
    assert first.segments == (
        Segment(1.0, "w0 w1 w2 w3", 5.0),
        Segment(6.0, "w4 w5", None),
    )
    assert second.first_frame == 500
    assert second.segments == (Segment(1.0, "w4 w5 w6 w7", 5.0),)
    assert second.previous == "w0 w1 w2 w3"
    assert second.timestamps_only


def test_a_sentence_longer_than_the_window_goes_on_in_the_next() -> None:
    item = recording([0.5], [[1.0] * 10])
    first, second = sequential(item)
    assert first.segments == (Segment(0.5, "w0 w1 w2 w3 w4 w5 w6", None),)
    assert second.first_frame == WINDOW_FRAMES
    assert [segment.text for segment in second.segments] == ["w7 w8 w9"]
    assert second.segments[0].end == pytest.approx(10.5 - WINDOW_SECONDS)


def test_a_sentence_that_has_only_just_begun_has_a_start_and_no_words() -> None:
    item = recording([1.0, 1.5], [[2.5, 2.5], [1.2, 1.0]])
    assert sequential(item)[0].segments[-1] == Segment(7.5, "", None)


def test_what_follows_the_last_sentence_is_a_window_without_segments() -> None:
    item = recording([1.0], [[1.0]], tail=8.0)
    assert [window.segments for window in sequential(item)][1:] == [()]
