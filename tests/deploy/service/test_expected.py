"""Names and terms of a client stand in the prompt, as far as there is room."""

import pytest

from edgewhisper.artifact import ModelDimensions
from edgewhisper.deploy.service.expected import with_expected
from edgewhisper.deploy.service.limits import Refusal
from edgewhisper.runtime.options import DecodingOptions

MOST = 20  # characters
DIMENSIONS = ModelDimensions(
    n_mels=80,
    d_model=8,
    encoder_layers=1,
    encoder_heads=1,
    encoder_ffn=8,
    decoder_layers=1,
    decoder_heads=1,
    decoder_ffn=8,
    vocab_size=100,
    max_source_positions=10,
    max_target_positions=2 * (MOST + 1),
)


def prompt(before: str | list[int] | None = None, **data: object) -> object:
    return with_expected(DecodingOptions(initial_prompt=before), data, DIMENSIONS).initial_prompt


def test_names_stand_before_terms_and_after_the_services_own_words() -> None:
    assert prompt(transcript_terms=["lamp"], transcript_names=["Ada", " Zo\në "]) == "Ada, Zo ë, lamp"
    assert prompt("Küche", transcript_names=["Ada"]) == "Küche, Ada"
    assert prompt("In the kitchen.", transcript_terms=["lamp"]) == "In the kitchen. lamp"


@pytest.mark.parametrize(
    "data", [{}, {"transcript_names": None}, {"transcript_names": [], "transcript_terms": [" "]}]
)
@pytest.mark.parametrize("before", [None, "Küche", [1, 2]])
def test_without_any_the_prompt_stays(before: str | list[int] | None, data: dict[str, object]) -> None:
    assert prompt(before, **data) == before


def test_what_has_no_room_is_left_out() -> None:
    names = ["Ada", "Bartholomäus", "Eve"]
    assert prompt(transcript_names=names) == "Ada, Bartholomäus"
    assert prompt(transcript_names=["x" * 50, "Ada"]) == "x" * MOST
    assert (
        prompt("a prompt of its own that is long", transcript_names=names[:1])
        == "a prompt of its own that is long, Ada"
    )


@pytest.mark.parametrize("value", ["Ada", 5, {"a": 1}, ["Ada", None], ["\ud800"]])
def test_what_is_no_list_of_texts_is_refused(value: object) -> None:
    with pytest.raises(Refusal, match="'transcript_names' is not a list of texts"):
        prompt(transcript_names=value)
