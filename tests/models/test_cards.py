"""Model cards, against transformers and the published sizes."""

from dataclasses import asdict
from typing import Any

import pytest

from edgewhisper.errors import CheckpointError
from edgewhisper.models.cards import CARDS, DEMO_FOLDER, ModelCard, find_card
from edgewhisper.models.whisper_vocabulary import whisper_vocabulary

PUBLISHED = [card for card in CARDS if card.hub_id]

# Millions, from the tables of the Whisper and Distil-Whisper model cards.
PUBLISHED_PARAMETERS = {
    "tiny": 39, "tiny.en": 39, "base": 74, "base.en": 74, "small": 244, "small.en": 244, "medium": 769, "medium.en": 769,
    "large": 1550, "large-v2": 1550, "large-v3": 1550, "large-v3-turbo": 809, "distil-small.en": 166,
    "distil-medium.en": 394, "distil-large-v2": 756, "distil-large-v3": 756, "distil-large-v3.5": 756,
}  # fmt: skip


def test_every_published_checkpoint_has_a_card() -> None:
    assert {card.name for card in PUBLISHED} == set(PUBLISHED_PARAMETERS)


@pytest.mark.parametrize("card", PUBLISHED, ids=lambda card: card.name)
def test_parameters_are_near_the_published_number(card: ModelCard) -> None:
    assert card.parameters / 1e6 == pytest.approx(PUBLISHED_PARAMETERS[card.name], rel=0.035)


@pytest.mark.parametrize("name", ["tiny.en", "base", "distil-small.en", "large-v3-turbo"])
def test_parameters_are_those_of_transformers(name: str) -> None:
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    card = find_card(name)
    dimensions: dict[str, Any] = asdict(card.dimensions)
    renamed = {
        "n_mels": "num_mel_bins",
        "encoder_heads": "encoder_attention_heads",
        "decoder_heads": "decoder_attention_heads",
        "encoder_ffn": "encoder_ffn_dim",
        "decoder_ffn": "decoder_ffn_dim",
    }
    config = WhisperConfig(**{renamed.get(key, key): value for key, value in dimensions.items()})
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(config)
    assert card.parameters == model.num_parameters()


@pytest.mark.parametrize("card", PUBLISHED, ids=lambda card: card.name)
def test_every_vocabulary_is_one_of_whispers(card: ModelCard) -> None:
    assert len(whisper_vocabulary(card.dimensions.vocab_size).tokens) == card.dimensions.vocab_size


@pytest.mark.parametrize("card", [card for card in CARDS if card.draft], ids=lambda card: card.name)
def test_drafts_share_the_vocabulary_and_are_smaller(card: ModelCard) -> None:
    draft = find_card(card.draft or "")
    assert draft.dimensions.vocab_size == card.dimensions.vocab_size
    assert draft.dimensions.decoder_layers < card.dimensions.decoder_layers
    assert not card.multilingual or draft.multilingual or draft.name.startswith("distil-large")


def test_sizes_follow_from_parameters() -> None:
    card = find_card("base.en")
    assert card.size("fp32") == 4 * card.parameters
    assert card.size("fp16") == 2 * card.parameters
    dims = card.dimensions
    positions = (dims.max_source_positions + dims.max_target_positions) * dims.d_model
    assert card.parameters + 3 * positions < card.size("int8") < 1.01 * card.parameters + 3 * positions
    layer = 12 * dims.d_model**2  # four projections of attention and two layers four times as wide
    encoder = dims.encoder_layers * layer
    assert encoder + (card.parameters - encoder) / 2 < card.size("int4") < card.size("int8")


@pytest.mark.parametrize("name", ["base.en", "BASE.EN", "openai/whisper-base.en", "OpenAI/whisper-base.en"])
def test_cards_are_found_by_name_and_hub_id(name: str) -> None:
    assert find_card(name).name == "base.en"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("base.fr", "base"), ("large-v4", "large-v3"), ("whisper-tiny", "tiny"), ("zzz", "known: tiny,")],
)
def test_unknown_names_get_a_hint(name: str, hint: str) -> None:
    with pytest.raises(CheckpointError) as error:
        find_card(name)
    assert f"no model '{name}'" in str(error.value)
    assert hint in str(error.value)


def test_bundled_model_has_a_card_where_it_is_installed() -> None:
    assert any(card.name == "demo" for card in CARDS) == (DEMO_FOLDER / "config.json").is_file()
