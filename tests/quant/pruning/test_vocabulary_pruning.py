"""Fewer tokens, the same text."""

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from edgewhisper.errors import UsageError
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.generation import find_token_ids, with_original_rules
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.models.whisper_vocabulary import whisper_vocabulary
from edgewhisper.pipeline.pruning import prune_checkpoint_vocabulary
from edgewhisper.quant.pruning.choice import Characters, Corpus, Languages, VocabularyChoice
from edgewhisper.quant.pruning.vocabulary import TABLE, keep_tokens, kept_tokens, with_ancestors
from edgewhisper.runtime.bpe import BytePairEncoder, parse_encoder
from edgewhisper.runtime.options import DecodingOptions, Segment
from edgewhisper.runtime.transcriber import Transcriber
from tests.conftest import BundledRecording
from tests.quant.pruning.pruned_artifacts import write_artifact
from tests.small_models import SMALL, random_checkpoint

MULTILINGUAL = 51_865


@cache
def demo() -> Checkpoint:
    return read_checkpoint("demo")


@cache
def multilingual() -> Checkpoint:
    """Whisper's multilingual vocabulary on a table of width 1, whose rows are their ids."""
    vocabulary = whisper_vocabulary(MULTILINGUAL)
    ids = find_token_ids(vocabulary.tokens, multilingual=True, source="test")
    return replace(
        random_checkpoint(SMALL),
        dimensions=replace(SMALL, vocab_size=MULTILINGUAL, d_model=1),
        vocabulary=vocabulary,
        token_ids=with_original_rules(ids, vocabulary.tokens),
        tensors={TABLE: np.arange(MULTILINGUAL, dtype=np.float32)[:, None]},
    )


@cache
def kept_by(choice: VocabularyChoice) -> tuple[int, ...]:
    checkpoint = multilingual()
    encoder = parse_encoder(checkpoint.vocabulary.tokenizer_json, "test")
    return kept_tokens(checkpoint, choice, encoder.encode)


@cache
def pruned_to(choice: VocabularyChoice) -> Checkpoint:
    return keep_tokens(multilingual(), kept_by(choice))


@cache
def tokenizers(choice: VocabularyChoice | None) -> Any:
    """The whole or the pruned tokenizer, read by the `tokenizers` library."""
    from tokenizers import Tokenizer

    checkpoint = multilingual() if choice is None else pruned_to(choice)
    return Tokenizer.from_str(checkpoint.vocabulary.tokenizer_json.decode())


def renumbered(tokens: Sequence[int], choice: VocabularyChoice) -> list[int] | None:
    """New ids of old ones; None where one is dropped."""
    new = {old: index for index, old in enumerate(kept_by(choice))}
    return [new[token] for token in tokens] if new.keys() >= set(tokens) else None


ENGLISH_GERMAN = Languages(("en", "de"))
TEXT = (
    "Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse.\n"
    "Als Gregor Samsa eines Morgens aus unruhigen Träumen erwachte, fand er sich verwandelt."
)


@hypothesis.given(strategies.text("abcdefgmnorstu ABT'.,19äöüß", max_size=60))
def test_text_of_kept_characters_has_the_same_tokens(text: str) -> None:
    whole = tokenizers(None).encode(text, add_special_tokens=False).ids
    expected = renumbered(whole, ENGLISH_GERMAN)
    assert expected is not None
    assert tokenizers(ENGLISH_GERMAN).encode(text, add_special_tokens=False).ids == expected


@hypothesis.given(strategies.text(max_size=30))
def test_any_text_has_tokens_and_those_of_kept_text_are_the_same(text: str) -> None:
    choice = Corpus("text", TEXT)
    pruned = tokenizers(choice).encode(text, add_special_tokens=False).ids
    tokens = pruned_to(choice).vocabulary.tokens
    assert b"".join(tokens[token] for token in pruned) == text.encode()
    expected = renumbered(tokenizers(None).encode(text, add_special_tokens=False).ids, choice)
    assert expected is None or pruned == expected


@hypothesis.given(strategies.lists(strategies.sampled_from(TEXT.split()), min_size=1, max_size=12))
def test_words_of_a_corpus_have_the_same_tokens_in_any_order(words: list[str]) -> None:
    choice = Corpus("text", TEXT)
    text = " " + " ".join(words)
    expected = renumbered(tokenizers(None).encode(text, add_special_tokens=False).ids, choice)
    assert expected is not None
    assert tokenizers(choice).encode(text, add_special_tokens=False).ids == expected


@hypothesis.given(strategies.text("abcdehlort äö漢字", max_size=40))
def test_the_runtimes_tokenizer_reads_the_pruned_one_alike(text: str) -> None:
    own = runtime_encoder(ENGLISH_GERMAN).encode(text)
    assert list(own) == tokenizers(ENGLISH_GERMAN).encode(text, add_special_tokens=False).ids


@cache
def runtime_encoder(choice: VocabularyChoice) -> BytePairEncoder:
    return parse_encoder(pruned_to(choice).vocabulary.tokenizer_json, "test")


def test_kept_tokens_are_closed_under_what_they_are_merged_from() -> None:
    vocabulary = multilingual().vocabulary
    kept = set(kept_by(Corpus("text", TEXT)))
    assert with_ancestors(kept, vocabulary) == kept
    merges = json.loads(vocabulary.tokenizer_json)["model"]["merges"]
    ids = json.loads(vocabulary.tokenizer_json)["model"]["vocab"]
    assert all({ids[a], ids[b]} <= kept for a, b in merges if ids[a + b] in kept)


@pytest.mark.parametrize(
    "choice",
    [ENGLISH_GERMAN, Characters(frozenset("abc")), Corpus("text", TEXT)],
    ids=["en,de", "abc", "corpus"],
)
def test_bytes_digits_specials_and_timestamps_are_always_kept(choice: VocabularyChoice) -> None:
    checkpoint = multilingual()
    tokens, ids = checkpoint.vocabulary.tokens, checkpoint.token_ids
    kept = set(kept_by(choice))
    assert {i for i in range(ids.end_of_text) if len(tokens[i]) == 1} <= kept
    assert {i for i in range(ids.end_of_text) if tokens[i].strip().isdigit()} <= kept
    languages = set(ids.languages.values())
    assert set(range(ids.end_of_text, MULTILINGUAL)) - languages <= kept
    if isinstance(choice, Languages):
        assert kept & languages == {ids.languages[code] for code in choice.codes}
    else:
        assert languages <= kept


def test_every_id_still_means_the_same() -> None:
    whole, kept, pruned = multilingual(), kept_by(ENGLISH_GERMAN), pruned_to(ENGLISH_GERMAN)

    def name(checkpoint: Checkpoint, token: int | None) -> bytes | None:
        return None if token is None else checkpoint.vocabulary.tokens[token]

    for field in ("end_of_text", "start_of_transcript", "transcribe", "translate", "start_of_previous", "no_speech",
                  "no_timestamps", "timestamp_begin"):  # fmt: skip
        assert name(pruned, getattr(pruned.token_ids, field)) == name(whole, getattr(whole.token_ids, field))
    assert pruned.token_ids.languages.keys() == {"en", "de"}
    for code, token in pruned.token_ids.languages.items():
        assert name(pruned, token) == f"<|{code}|>".encode()
    assert pruned.vocabulary.tokens[pruned.token_ids.timestamp_begin :] == whole.vocabulary.tokens[-1501:]
    assert pruned.dimensions.vocab_size == len(pruned.vocabulary.tokens) == len(kept)
    np.testing.assert_array_equal(pruned.tensors[TABLE][:, 0], kept)


def test_the_suppress_lists_forbid_what_they_forbade() -> None:
    whole, kept, pruned = multilingual(), kept_by(ENGLISH_GERMAN), pruned_to(ENGLISH_GERMAN)
    for before, after in (
        (whole.token_ids.suppress, pruned.token_ids.suppress),
        (whole.token_ids.begin_suppress, pruned.token_ids.begin_suppress),
    ):
        assert [kept[token] for token in after] == [token for token in before if token in set(kept)]
    # Computed anew, openai-whisper's list has these too (and bytes that begin symbols which are no token any more).
    anew = with_original_rules(pruned.token_ids, pruned.vocabulary.tokens)
    assert set(pruned.token_ids.suppress) <= set(anew.suppress)


def test_languages_keep_their_letters_and_drop_other_scripts() -> None:
    tokens = multilingual().vocabulary.tokens
    kept = {tokens[i] for i in kept_by(ENGLISH_GERMAN)}
    assert {b" the", " über".encode(), b" 12"} <= kept
    assert not kept & {"的".encode(), " и".encode(), " על".encode()}
    scripts = {
        unicodedata.name(letter).split()[0]
        for token in kept
        for letter in token.decode(errors="ignore")
        if letter.isalpha()
    }
    assert scripts <= {"LATIN", "MICRO", "FEMININE", "MASCULINE"}


def test_a_reference_that_needs_a_dropped_token_is_refused() -> None:
    checkpoint = multilingual()
    prune_checkpoint_vocabulary(checkpoint, Languages(("en",)), ["Good morning, 27 times."])
    with pytest.raises(UsageError) as caught:
        prune_checkpoint_vocabulary(checkpoint, Languages(("en",)), ["Good morning.", "Und die Straße?"])
    assert "languages:en" in str(caught.value)
    assert "' Straße'" in str(caught.value)  # the first token missing, here a whole word
    assert "'Und die Straße?'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_reference_in_a_language_without_spaces_is_accepted() -> None:
    choice = Corpus("text", "这里天气很好")
    prune_checkpoint_vocabulary(multilingual(), choice, ["这里天气很好"])


def test_a_language_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no language 'fr'; it has de, en"):
        prune_checkpoint_vocabulary(demo(), Languages(("en", "fr")))


def test_a_report_counts_tokens_and_bytes() -> None:
    pruned, report = prune_checkpoint_vocabulary(demo(), Corpus("letters", "abc"))
    assert report.tokens_before == demo().dimensions.vocab_size
    assert report.tokens_after == pruned.tensors[TABLE].shape[0] == len(pruned.vocabulary.tokens)
    dropped = demo().tensors[TABLE].size - pruned.tensors[TABLE].size
    assert report.bytes_saved == 4 * dropped


def transcribe(transcriber: Transcriber, path: Path, options: DecodingOptions) -> list[Segment]:
    return list(transcriber.transcribe(path, options)[0])


def test_recordings_have_the_same_tokens_one_by_one(
    demo_artifact: Path, recordings: Sequence[BundledRecording], tmp_path: Path
) -> None:
    """The corpus is what the whole model writes, so that no token it needs is dropped."""
    # Whether a window is decoded again depends on probabilities, which pruning changes.
    options = DecodingOptions(temperature=(0.0,))
    spoken = [recording for recording in recordings if recording.group != "long"][::3]
    whole = Transcriber(demo_artifact)
    expected = [transcribe(whole, recording.path, options) for recording in spoken]
    text = "\n".join(segment.text for segments in expected for segment in segments)

    encoder = parse_encoder(demo().vocabulary.tokenizer_json, "test")
    kept = kept_tokens(demo(), Corpus("text", text), encoder.encode)
    assert {token for segments in expected for segment in segments for token in segment.tokens} <= set(kept)
    assert len(kept) < demo().dimensions.vocab_size - 100
    pruned = Transcriber(write_artifact(keep_tokens(demo(), kept), tmp_path / "pruned"))

    for recording, segments in zip(spoken, expected, strict=True):
        found = transcribe(pruned, recording.path, options)
        assert [[kept[token] for token in segment.tokens] for segment in found] == [
            list(segment.tokens) for segment in segments
        ]
        assert [(segment.start, segment.end, segment.text) for segment in found] == [
            (segment.start, segment.end, segment.text) for segment in segments
        ]
        for after, before in zip(found, segments, strict=True):
            assert after.avg_logprob >= before.avg_logprob - 1e-6
            assert after.no_speech_prob >= before.no_speech_prob - 1e-6


def test_prompts_of_the_pruned_model_are_the_same_tokens(
    demo_artifact: Path, speech: Path, tmp_path: Path
) -> None:
    options = DecodingOptions(language="en", initial_prompt="Turn on the lights.", temperature=(0.0,))
    (expected,) = transcribe(Transcriber(demo_artifact), speech, options)
    pruned, _ = prune_checkpoint_vocabulary(
        demo(), Languages(("en",)), ["Turn on the lights.", expected.text]
    )
    (found,) = transcribe(Transcriber(write_artifact(pruned, tmp_path / "english")), speech, options)
    assert found.text == expected.text
