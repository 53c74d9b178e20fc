"""Options that cannot be used are refused in one line that says what can."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from edgewhisper.artifact import TokenIds
from edgewhisper.errors import UsageError
from edgewhisper.runtime.language import LANGUAGES, language_code
from edgewhisper.runtime.options import DecodingOptions, check_options
from tests.scripted import DIMENSIONS, END, ENGLISH_ONLY, TOKENS, VOCAB_SIZE


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("task", "summarise", "transcribe, translate"),
        ("temperature", -0.1, "temperature"),
        ("temperature", float("nan"), "temperature"),
        ("temperature", (), "temperature"),
        ("temperature", (0.0, float("inf")), "temperature"),
        ("max_tokens", 0, "max_tokens"),
        ("max_initial_timestamp", -1.0, "max_initial_timestamp"),
        ("no_speech_threshold", 1.5, "no_speech_threshold"),
        ("seed", -1, "seed"),
        ("seed", 1.5, "seed"),
        ("seed", None, "seed"),
        ("temperature", 10**400, "temperature"),
        ("max_tokens", "9", "max_tokens"),
        ("language", 5, "language 5 is not valid; give a code or an English name"),
        ("temperature", None, "temperature None"),
        ("temperature", "0", "temperature '0'"),
        ("temperature", (0.0, "1"), "temperature"),
        ("temperature", True, "temperature"),
        ("compression_ratio_threshold", "x", "compression_ratio_threshold 'x'"),
        ("logprob_threshold", float("nan"), "logprob_threshold"),
        ("prompt_reset_on_temperature", None, "prompt_reset_on_temperature"),
        ("max_initial_timestamp", float("inf"), "max_initial_timestamp"),
        ("timestamps", "no", "timestamps 'no' is not valid; give True or False"),
        ("condition_on_previous_text", None, "condition_on_previous_text"),
        ("suppress_blank", 0, "suppress_blank"),
        ("initial_prompt", 7, "initial_prompt"),
        ("initial_prompt", [0.5], "initial_prompt"),
        ("suppress_tokens", "1,2", "suppress_tokens"),
        ("suppress_tokens", (None,), "suppress_tokens"),
    ],
)
def test_values_that_no_model_takes(option: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        DecodingOptions(**{option: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0, "no_speech_threshold": 1, "max_initial_timestamp": 1},
        {"temperature": np.float32(0.5), "seed": np.int64(3), "max_tokens": np.int32(9)},
        {"temperature": [0.0, 1], "initial_prompt": [1, 2], "suppress_tokens": [np.int64(4)]},
        {"logprob_threshold": -math.inf, "compression_ratio_threshold": math.inf},
    ],
)
def test_numbers_may_be_of_any_type(options: dict[str, Any]) -> None:
    temperatures = DecodingOptions(**options).temperatures
    assert all(type(temperature) is float for temperature in temperatures)


@pytest.mark.parametrize(
    ("tokens", "options", "message"),
    [
        (TOKENS, {"language": "fr"}, "choose one of: de, en"),
        (TOKENS, {"language": "klingon"}, "choose one of: de, en"),
        (TOKENS, {"language": ""}, "choose one of: de, en"),
        (ENGLISH_ONLY, {"language": "de"}, "English only"),
        (ENGLISH_ONLY, {"task": "translate"}, "only transcribes"),
        (dataclasses.replace(TOKENS, translate=None), {"task": "translate"}, "only transcribes"),
        (TOKENS, {"suppress_tokens": (1, VOCAB_SIZE)}, f"0 to {VOCAB_SIZE - 1}"),
        (TOKENS, {"suppress_tokens": (-1,)}, "no token has the id -1"),
        (TOKENS, {"suppress_tokens": (END,)}, "end of text"),
        (TOKENS, {"initial_prompt": (VOCAB_SIZE,)}, "initial_prompt"),
    ],
)
def test_values_that_this_model_does_not_take(
    tokens: TokenIds, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as error:
        check_options(DecodingOptions(**options), tokens, DIMENSIONS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("language", ["de", "DE", " German ", "german"])
def test_languages_go_by_code_or_name(language: str) -> None:
    assert language_code(language, TOKENS) == "de"


def test_an_english_only_model_accepts_english() -> None:
    assert language_code("English", ENGLISH_ONLY) == "en"


def test_names_are_those_of_whisper() -> None:
    from transformers.models.whisper import tokenization_whisper as oracle

    assert oracle.LANGUAGES == LANGUAGES
    tokens = dataclasses.replace(TOKENS, languages=dict.fromkeys(LANGUAGES, 0))
    for name, code in oracle.TO_LANGUAGE_CODE.items():
        assert language_code(name, tokens) == code
