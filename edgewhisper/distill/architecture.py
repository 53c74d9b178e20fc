"""Shape and settings of the demo model, in transformers' terms."""

from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

from .features import MEL_BINS, WINDOW_FRAMES
from .tokenizer import SpecialTokens

MAX_TARGET_POSITIONS = 128

_WIDTH = 192
_LAYERS = 4
_HEADS = 3
"""Heads of 64, as in every Whisper."""

_FEED_FORWARD = 4 * _WIDTH
_LATEST_FIRST_TIMESTAMP = 75
"""In steps of 0.02 s: the pauses of long recordings are up to 1.4 s long."""

ENCODER_POSITIONS = WINDOW_FRAMES // 2


def build_model(vocabulary: int, tokens: SpecialTokens) -> WhisperForConditionalGeneration:
    """A model with fresh weights from torch's global random state."""
    config = WhisperConfig(
        vocab_size=vocabulary,
        num_mel_bins=MEL_BINS,
        d_model=_WIDTH,
        encoder_layers=_LAYERS,
        decoder_layers=_LAYERS,
        encoder_attention_heads=_HEADS,
        decoder_attention_heads=_HEADS,
        encoder_ffn_dim=_FEED_FORWARD,
        decoder_ffn_dim=_FEED_FORWARD,
        max_source_positions=ENCODER_POSITIONS,
        max_target_positions=MAX_TARGET_POSITIONS,
        dropout=0.0,
        pad_token_id=tokens.end_of_text,
        bos_token_id=tokens.end_of_text,
        eos_token_id=tokens.end_of_text,
        decoder_start_token_id=tokens.start_of_transcript,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration._from_config(config, attn_implementation="eager")
    model.model.encoder.embed_positions.requires_grad_(False)
    model.generation_config = generation_config(tokens)
    return model


def generation_config(tokens: SpecialTokens) -> GenerationConfig:
    """Settings for `generate`.

    Whisper's `begin_suppress_tokens` (the lone blank and end-of-text) are left out: in a small vocabulary words begin
    with the lone blank, and end-of-text at the beginning is how the model says that nobody speaks.

    The task is set because `generate` leaves its token out where neither language nor task is given, and the model
    has never seen a prompt without one.
    """
    unwanted = [
        tokens.start_of_transcript,
        tokens.translate,
        tokens.transcribe,
        tokens.start_of_language_model,
        tokens.start_of_previous,
        tokens.no_speech,
    ]
    return GenerationConfig(
        decoder_start_token_id=tokens.start_of_transcript,
        bos_token_id=tokens.end_of_text,
        eos_token_id=tokens.end_of_text,
        pad_token_id=tokens.end_of_text,
        prev_sot_token_id=tokens.start_of_previous,
        no_timestamps_token_id=tokens.no_timestamps,
        max_length=MAX_TARGET_POSITIONS,
        max_initial_timestamp_index=_LATEST_FIRST_TIMESTAMP,
        is_multilingual=True,
        lang_to_id={f"<|{language}|>": token for language, token in tokens.languages.items()},
        task_to_id={"transcribe": tokens.transcribe, "translate": tokens.translate},
        task="transcribe",
        suppress_tokens=unwanted,
        begin_suppress_tokens=None,
        return_timestamps=False,
    )
