"""OpenAI's tensor names, which whisper.cpp keeps, and the vocabulary of checkpoints that carry none."""

from pathlib import Path

from edgewhisper.artifact import ModelDimensions, TokenIds
from edgewhisper.errors import CheckpointError

from .checkpoint import LARGEST_SIZE, MOST_LAYERS, Vocabulary, check_shapes, expected_shapes
from .generation import ENGLISH_ONLY_VOCABULARY, find_token_ids, with_original_rules
from .stored_tensors import LazyTensors, StoredTensor
from .tokenizer import read_tokenizer_json

_WHOLE_NAMES = {
    "encoder.embed_positions.weight": "encoder.positional_embedding",
    "decoder.embed_positions.weight": "decoder.positional_embedding",
    "decoder.embed_tokens.weight": "decoder.token_embedding.weight",
}
_NAME_PARTS = (
    ("encoder.layer_norm.", "encoder.ln_post."),
    ("decoder.layer_norm.", "decoder.ln."),
    (".layers.", ".blocks."),
    (".self_attn_layer_norm.", ".attn_ln."),
    (".encoder_attn_layer_norm.", ".cross_attn_ln."),
    (".final_layer_norm.", ".mlp_ln."),
    (".self_attn.", ".attn."),
    (".encoder_attn.", ".cross_attn."),
    (".q_proj.", ".query."),
    (".k_proj.", ".key."),
    (".v_proj.", ".value."),
    (".out_proj.", ".out."),
    (".fc1.", ".mlp.0."),
    (".fc2.", ".mlp.2."),
)


def openai_name(canonical: str) -> str:
    """The name of a tensor in OpenAI's and whisper.cpp's files."""
    name = _WHOLE_NAMES.get(canonical, canonical)
    for ours, theirs in _NAME_PARTS:
        name = name.replace(ours, theirs)
    return name


def canonical_tensors(
    stored: dict[str, StoredTensor], dimensions: ModelDimensions, source: str
) -> LazyTensors:
    """Tensors under OpenAI's names -> the same under canonical ones.

    Raises:
        CheckpointError: one is missing or has another shape.
    """
    names = {name: openai_name(name) for name in expected_shapes(dimensions)}
    found = {name: stored[theirs] for name, theirs in names.items() if theirs in stored}
    check_shapes({name: tensor.shape for name, tensor in found.items()}, dimensions, source)
    return LazyTensors(found)


def dimensions_from_hparams(
    *,
    n_mels: int,
    n_vocab: int,
    n_audio_ctx: int,
    n_audio_state: int,
    n_audio_head: int,
    n_audio_layer: int,
    n_text_ctx: int,
    n_text_state: int,
    n_text_head: int,
    n_text_layer: int,
    source: str,
) -> ModelDimensions:
    """The model's shape from the numbers that both formats store.

    Raises:
        CheckpointError: they describe no Whisper model.
    """
    ffn_factor = 4  # fixed in both implementations
    audio = (n_mels, n_audio_ctx, n_audio_state, n_audio_head, n_audio_layer)
    text = (n_vocab, n_text_ctx, n_text_state, n_text_head, n_text_layer)
    if (
        min(*audio, *text) < 1
        or max(*audio, *text) > LARGEST_SIZE
        or max(n_audio_layer, n_text_layer) > MOST_LAYERS
        or n_audio_state != n_text_state
        or n_audio_state % n_audio_head
        or n_text_state % n_text_head
    ):
        raise CheckpointError(f"{source}: its dimensions are not those of a Whisper model; download it again")
    return ModelDimensions(
        n_mels=n_mels,
        d_model=n_audio_state,
        encoder_layers=n_audio_layer,
        encoder_heads=n_audio_head,
        encoder_ffn=ffn_factor * n_audio_state,
        decoder_layers=n_text_layer,
        decoder_heads=n_text_head,
        decoder_ffn=ffn_factor * n_text_state,
        vocab_size=n_vocab,
        max_source_positions=n_audio_ctx,
        max_target_positions=n_text_ctx,
    )


def vocabulary_beside(path: Path, vocab_size: int) -> Vocabulary | None:
    """The vocabulary of a tokenizer.json in the folder of a checkpoint file, or None if there is none."""
    tokenizer = path.parent / "tokenizer.json"
    return (
        read_tokenizer_json(tokenizer.read_bytes(), vocab_size, str(tokenizer))
        if tokenizer.is_file()
        else None
    )


def original_token_ids(vocabulary: Vocabulary, source: str) -> TokenIds:
    """Special tokens and openai-whisper's rules, for checkpoints that carry no generation settings."""
    multilingual = len(vocabulary.tokens) != ENGLISH_ONLY_VOCABULARY
    ids = find_token_ids(vocabulary.tokens, multilingual=multilingual, source=source)
    return with_original_rules(ids, vocabulary.tokens)
