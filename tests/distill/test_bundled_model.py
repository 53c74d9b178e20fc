"""The bundled model keeps what its card promises: size, recordings, word error rate, language, silence."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import WhisperForConditionalGeneration, WhisperTokenizer

from edgewhisper.bench.scoring import error_rate
from edgewhisper.distill.demo import BUNDLE
from edgewhisper.distill.recognition import Hypothesis, transcribe
from edgewhisper.distill.sentences import Split, split_of
from edgewhisper.distill.tokenizer import special_tokens
from edgewhisper.distill.transcripts import Transcript, read_recording, read_table

RECORDINGS = BUNDLE / "recordings"


@dataclass(frozen=True)
class Transcription:
    transcript: Transcript
    hypothesis: Hypothesis


@pytest.fixture(scope="module")
def transcriptions() -> list[Transcription]:
    model = WhisperForConditionalGeneration.from_pretrained(BUNDLE).float().eval()
    tokenizer = WhisperTokenizer.from_pretrained(BUNDLE)
    transcripts = read_table(RECORDINGS)
    hypotheses = transcribe(model, tokenizer, [read_recording(RECORDINGS, item) for item in transcripts])
    return [Transcription(*pair) for pair in zip(transcripts, hypotheses, strict=True)]


def size(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def test_the_model_takes_less_than_twelve_megabytes_and_the_recordings_less_than_eight() -> None:
    assert size([path for path in BUNDLE.iterdir() if path.is_file()]) < 12e6
    assert size(list(RECORDINGS.iterdir())) < 8e6


def test_at_least_forty_held_out_recordings_cover_every_group() -> None:
    transcripts = read_table(RECORDINGS)
    assert len(transcripts) >= 40
    assert {item.group for item in transcripts} == {"seen", "unseen", "german", "long", "blank"}
    assert sum(20 <= item.duration <= 60 for item in transcripts) >= 6
    assert {"silence", "noise", "music"} <= {item.voice for item in transcripts if not item.text}
    said = [segment.text for item in transcripts for segment in item.segments]
    assert all(split_of(sentence) is Split.HELD_OUT for sentence in said)


def test_every_file_of_the_table_is_there_and_as_long_as_it_says() -> None:
    transcripts = read_table(RECORDINGS)
    assert {item.file for item in transcripts} == {path.name for path in RECORDINGS.glob("*.flac")}
    for item in transcripts:
        assert len(read_recording(RECORDINGS, item)) / 16000 == pytest.approx(item.duration, abs=0.006)


def test_weights_are_half_precision_and_finite() -> None:
    model = WhisperForConditionalGeneration.from_pretrained(BUNDLE, dtype="auto")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float16}
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_generation_settings_name_the_tokens_of_the_vocabulary() -> None:
    model = WhisperForConditionalGeneration.from_pretrained(BUNDLE)
    tokens = special_tokens(WhisperTokenizer.from_pretrained(BUNDLE))
    settings = model.generation_config
    assert settings.is_multilingual
    assert settings.lang_to_id == {"<|en|>": tokens.languages["en"], "<|de|>": tokens.languages["de"]}
    assert settings.task_to_id == {"transcribe": tokens.transcribe, "translate": tokens.translate}
    assert settings.no_timestamps_token_id == tokens.no_timestamps
    assert settings.prev_sot_token_id == tokens.start_of_previous
    assert settings.decoder_start_token_id == tokens.start_of_transcript
    assert settings.eos_token_id == tokens.end_of_text


@pytest.mark.slow
class TestTranscripts:
    @pytest.mark.parametrize(
        ("group", "bar"), [("seen", 0.04), ("unseen", 0.05), ("german", 0.08), ("long", 0.08)]
    )
    def test_the_word_error_rate_stays_below_its_bar(
        self, transcriptions: list[Transcription], group: str, bar: float
    ) -> None:
        own = [item for item in transcriptions if item.transcript.group == group]
        rate = error_rate([item.transcript.text for item in own], [item.hypothesis.text for item in own])
        assert rate.wer <= bar

    def test_the_language_is_detected_with_one_mistake_at_most(
        self, transcriptions: list[Transcription]
    ) -> None:
        spoken = [item for item in transcriptions if item.transcript.text]
        assert sum(item.hypothesis.language != item.transcript.language for item in spoken) <= 1

    def test_nothing_is_written_where_nobody_speaks(self, transcriptions: list[Transcription]) -> None:
        blank = [item for item in transcriptions if not item.transcript.text]
        assert [item.hypothesis.text for item in blank] == [""] * len(blank)
