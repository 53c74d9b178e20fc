"""The settings and tokenizer files of a transformers folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgewhisper.artifact import AudioSettings, ModelDimensions, TokenIds

from .checkpoint import Vocabulary
from .tokenizer import TIMESTAMP, to_characters
from .transformers_folder import RANDOM_WEIGHTS_KEY


def write_settings(
    folder: Path,
    dimensions: ModelDimensions,
    ids: TokenIds,
    *,
    dtype: str = "float32",
    random_weights: bool = False,
) -> None:
    """Write config.json, generation_config.json and preprocessor_config.json of a model whose weights are stored as `dtype`."""
    token_ids = {
        "bos_token_id": ids.end_of_text,
        "decoder_start_token_id": ids.start_of_transcript,
        "eos_token_id": ids.end_of_text,
        "pad_token_id": ids.end_of_text,
    }
    suppress = {"suppress_tokens": list(ids.suppress), "begin_suppress_tokens": list(ids.begin_suppress)}
    config = {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        **({RANDOM_WEIGHTS_KEY: True} if random_weights else {}),
        "activation_function": "gelu",
        "d_model": dimensions.d_model,
        "decoder_attention_heads": dimensions.decoder_heads,
        "decoder_ffn_dim": dimensions.decoder_ffn,
        "decoder_layers": dimensions.decoder_layers,
        "dtype": dtype,
        "encoder_attention_heads": dimensions.encoder_heads,
        "encoder_ffn_dim": dimensions.encoder_ffn,
        "encoder_layers": dimensions.encoder_layers,
        "is_encoder_decoder": True,
        "max_source_positions": dimensions.max_source_positions,
        "max_target_positions": dimensions.max_target_positions,
        "num_hidden_layers": dimensions.encoder_layers,
        "num_mel_bins": dimensions.n_mels,
        "scale_embedding": False,
        "tie_word_embeddings": True,
        "vocab_size": dimensions.vocab_size,
        **token_ids,
        **suppress,
    }
    generation: dict[str, Any] = {
        "is_multilingual": ids.is_multilingual,
        "max_initial_timestamp_index": ids.max_initial_timestamp_index,
        "max_length": dimensions.max_target_positions,
        "no_timestamps_token_id": ids.no_timestamps,
        "prev_sot_token_id": ids.start_of_previous,
        "return_timestamps": False,
        **token_ids,
        **suppress,
    }
    if ids.alignment_heads:
        generation["alignment_heads"] = [list(pair) for pair in ids.alignment_heads]
    if ids.is_multilingual:
        generation["lang_to_id"] = {f"<|{code}|>": token_id for code, token_id in ids.languages.items()}
        generation["task_to_id"] = {"transcribe": ids.transcribe, "translate": ids.translate}
    audio = AudioSettings(n_mels=dimensions.n_mels, n_frames=2 * dimensions.max_source_positions)
    samples = audio.n_frames * audio.hop_length
    preprocessor = {
        "chunk_length": samples // audio.sample_rate,
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": audio.n_mels,
        "hop_length": audio.hop_length,
        "n_fft": audio.n_fft,
        "n_samples": samples,
        "nb_max_frames": audio.n_frames,
        "padding_side": "right",
        "padding_value": 0.0,
        "processor_class": "WhisperProcessor",
        "return_attention_mask": False,
        "sampling_rate": audio.sample_rate,
    }
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", generation)
    _write_json(folder / "preprocessor_config.json", preprocessor)


def write_tokenizer(folder: Path, vocabulary: Vocabulary, ids: TokenIds) -> None:
    """Write tokenizer.json, and vocab.json, merges.txt, added_tokens.json and tokenizer_config.json for the slow tokenizer."""
    end_of_text = vocabulary.tokens[ids.end_of_text].decode()
    base = {to_characters(token): i for i, token in enumerate(vocabulary.tokens[: ids.end_of_text])}
    tokenizer = json.loads(vocabulary.tokenizer_json)
    added = {item["content"]: item["id"] for item in tokenizer["added_tokens"]}
    settings = {
        "add_prefix_space": False,
        "additional_special_tokens": [token for token in added if TIMESTAMP.fullmatch(token) is None],
        "bos_token": end_of_text,
        "eos_token": end_of_text,
        "errors": "replace",
        "model_max_length": 1024,
        "pad_token": end_of_text,
        "processor_class": "WhisperProcessor",
        "tokenizer_class": "WhisperTokenizer",
        "unk_token": end_of_text,
    }
    merges = "".join(f"{left} {right}\n" for left, right in tokenizer["model"]["merges"])
    (folder / "tokenizer.json").write_bytes(vocabulary.tokenizer_json)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8")
    _write_json(folder / "vocab.json", base | {end_of_text: ids.end_of_text})
    _write_json(folder / "added_tokens.json", added)
    _write_json(folder / "tokenizer_config.json", settings)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
