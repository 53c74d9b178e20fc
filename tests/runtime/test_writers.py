"""openai-whisper's own writers are the oracle."""

import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.runtime.options import Segment, TranscriptionInfo
from edgewhisper.runtime.writers import WRITERS, Writer

INFO = TranscriptionInfo(language="de", language_probability=0.9, duration=None)

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30) | st.sampled_from(
    [" a --> b", "tab\there", ""]
)
times = st.floats(0, 4e5, allow_nan=False)


@st.composite
def segment_lists(draw: Callable[[st.SearchStrategy[Any]], Any]) -> list[Segment]:
    return [
        Segment(
            start,
            end,
            text,
            (1, 2),
            avg_logprob=-0.25,
            no_speech_prob=0.01,
            compression_ratio=1.5,
            temperature=0.0,
        )
        for start, end, text in draw(st.lists(st.tuples(times, times, texts), max_size=4))
    ]


def written(writer: Writer, segments: list[Segment]) -> str:
    file = io.StringIO()
    writer(iter(segments), INFO, file)
    return file.getvalue()


@pytest.mark.parametrize("name", ["txt", "srt", "vtt", "tsv"])
@given(segments=segment_lists())
def test_a_format_is_written_as_openai_whisper_writes_it(name: str, segments: list[Segment]) -> None:
    whisper = pytest.importorskip("whisper.utils", reason="the oracle is openai-whisper (the extra 'vocab')")
    expected = io.StringIO()
    oracle = whisper.get_writer(name, ".")
    oracle.write_result({"segments": [dataclasses.asdict(segment) for segment in segments]}, file=expected)
    assert written(WRITERS[name], segments) == expected.getvalue()


@given(segments=segment_lists())
def test_json_holds_everything_that_segments_know(segments: list[Segment]) -> None:
    result = json.loads(written(WRITERS["json"], segments))
    assert result["language"] == "de"
    assert result["text"] == "".join(segment.text for segment in segments)
    assert [found.pop("id") for found in result["segments"]] == list(range(len(segments)))
    assert [
        Segment(**(found | {"tokens": tuple(found["tokens"])})) for found in result["segments"]
    ] == segments


@pytest.mark.parametrize("name", WRITERS)
def test_a_segment_is_written_before_the_next_one_is_decoded(name: str) -> None:
    file = io.StringIO()

    def decode() -> Iterator[Segment]:
        for text in (" first", " second"):
            yield Segment(0.0, 1.0, text, (), 0.0, 0.0, 1.0, 0.0)
            assert text.strip() in file.getvalue()

    WRITERS[name](decode(), INFO, file)
