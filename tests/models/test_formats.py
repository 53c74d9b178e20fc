"""The same weights through every file format."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewhisper.artifact import ModelDimensions, TokenIds
from edgewhisper.models.checkpoint import Checkpoint, expected_shapes
from edgewhisper.models.openai_names import openai_name
from edgewhisper.models.reader import read_checkpoint
from tests.models.checkpoint_files import (
    SMALL,
    Array,
    openai_model,
    openai_tokenizer,
    read_small,
    small_vocabulary,
    write_ggml,
    write_pt,
    write_small_folder,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return read_small(tmp_path_factory.mktemp("small") / "folder")


def openai_state(checkpoint: Checkpoint) -> dict[str, Array]:
    return {openai_name(name): array for name, array in checkpoint.tensors.items()}


def base_tokens(checkpoint: Checkpoint) -> tuple[bytes, ...]:
    return checkpoint.vocabulary.tokens[: checkpoint.token_ids.end_of_text]


def write_shards(folder: Path) -> Path:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    shard_of = {name: files[i % 2] for i, name in enumerate(tensors)}
    for file in files:
        save_file({name: tensors[name] for name in tensors if shard_of[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shard_of}))
    return folder


def write_tokenizer_beside(checkpoint: Checkpoint, path: Path) -> None:
    (path.parent / "tokenizer.json").write_bytes(checkpoint.vocabulary.tokenizer_json)


def assert_same_tensors(found: Checkpoint, expected: Checkpoint) -> None:
    assert found.dimensions == expected.dimensions
    assert set(found.tensors) == set(expected.tensors) == set(expected_shapes(expected.dimensions))
    for name in expected.tensors:
        assert found.tensors[name].dtype == expected.tensors[name].dtype
        np.testing.assert_array_equal(found.tensors[name], expected.tensors[name], err_msg=name)
    assert found.model.checkpoint_sha256 == expected.model.checkpoint_sha256


def test_sharded_safetensors_give_the_same_checkpoint(small: Checkpoint, tmp_path: Path) -> None:
    sharded = read_checkpoint(write_shards(write_small_folder(tmp_path / "sharded")))
    assert_same_tensors(sharded, small)
    assert sharded.token_ids == small.token_ids
    assert sharded.vocabulary == small.vocabulary


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_pt_gives_the_same_checkpoint(small: Checkpoint, tmp_path: Path, dtype: type) -> None:
    tensors: dict[str, Array] = {name: array.astype(dtype) for name, array in small.tensors.items()}
    path = write_pt(
        tmp_path / "small.pt", SMALL, {openai_name(name): array for name, array in tensors.items()}
    )
    write_tokenizer_beside(small, path)
    found = read_checkpoint(path)
    for name, array in tensors.items():
        assert found.tensors[name].dtype == dtype
        np.testing.assert_array_equal(found.tensors[name], array, err_msg=name)
    assert found.token_ids == small.token_ids
    assert found.vocabulary == small.vocabulary


def test_ggml_f32_gives_the_same_checkpoint(small: Checkpoint, tmp_path: Path) -> None:
    found = read_checkpoint(write_ggml(tmp_path / "ggml.bin", SMALL, openai_state(small), base_tokens(small)))
    assert_same_tensors(found, small)
    assert found.token_ids == small.token_ids
    assert found.vocabulary == small.vocabulary


def test_tokenizer_beside_a_ggml_file_replaces_its_vocabulary(small: Checkpoint, tmp_path: Path) -> None:
    path = write_ggml(tmp_path / "ggml.bin", SMALL, openai_state(small), base_tokens=())
    write_tokenizer_beside(small, path)
    assert read_checkpoint(path).vocabulary == small.vocabulary


def test_ggml_f16_stays_float16(small: Checkpoint, tmp_path: Path) -> None:
    def encode(array: Array) -> tuple[int, bytes]:
        return 1, array.astype("<f2").tobytes()

    path = write_ggml(tmp_path / "ggml.bin", SMALL, openai_state(small), base_tokens(small), encode)
    found = read_checkpoint(path).tensors
    expected = small.tensors["decoder.layers.0.fc1.weight"].astype(np.float16)
    np.testing.assert_array_equal(found["decoder.layers.0.fc1.weight"], expected)
    assert found["decoder.layers.0.fc1.weight"].dtype == np.float16
    assert found["decoder.layers.0.fc1.bias"].dtype == np.float32
    assert found["encoder.conv1.weight"].dtype == np.float16


@pytest.mark.parametrize("kind", ["Q4_0", "Q5_0", "Q5_1", "Q8_0"])
def test_quantized_ggml_decodes_as_the_gguf_package_does(
    small: Checkpoint, tmp_path: Path, kind: str
) -> None:
    from gguf import GGMLQuantizationType, quants

    number = GGMLQuantizationType[kind]
    path = write_ggml(
        tmp_path / "ggml.bin",
        SMALL,
        openai_state(small),
        base_tokens(small),
        lambda array: (int(number), quants.quantize(np.ascontiguousarray(array), number).tobytes()),
    )
    found = read_checkpoint(path).tensors
    matrices = [name for name, array in small.tensors.items() if array.ndim == 2 and "positions" not in name]
    assert len(matrices) > 20
    for name in matrices:
        expected = quants.dequantize(quants.quantize(small.tensors[name], number), number)
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


@pytest.mark.parametrize("write", ["pt", "ggml"])
def test_openai_models_compute_the_same_in_transformers(tmp_path: Path, write: str) -> None:
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    model = openai_model(SMALL)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    if write == "pt":
        path = write_pt(tmp_path / "model.pt", SMALL, state)
        (tmp_path / "tokenizer.json").write_bytes(small_vocabulary().tokenizer_json)
    else:
        path = write_ggml(tmp_path / "ggml.bin", SMALL, state, base_tokens=())
        (tmp_path / "tokenizer.json").write_bytes(small_vocabulary().tokenizer_json)
    checkpoint = read_checkpoint(path)

    config = WhisperConfig(
        vocab_size=SMALL.vocab_size, num_mel_bins=SMALL.n_mels, d_model=SMALL.d_model,
        encoder_layers=SMALL.encoder_layers, encoder_attention_heads=SMALL.encoder_heads,
        decoder_layers=SMALL.decoder_layers, decoder_attention_heads=SMALL.decoder_heads,
        encoder_ffn_dim=SMALL.encoder_ffn, decoder_ffn_dim=SMALL.decoder_ffn,
        max_source_positions=SMALL.max_source_positions, max_target_positions=SMALL.max_target_positions,
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    other = WhisperForConditionalGeneration(config).eval()
    weights = {f"model.{name}": torch.tensor(array) for name, array in checkpoint.tensors.items()}
    other.load_state_dict(weights | {"proj_out.weight": weights["model.decoder.embed_tokens.weight"]})

    mel = torch.randn(
        1, SMALL.n_mels, 2 * SMALL.max_source_positions, generator=torch.Generator().manual_seed(0)
    )
    tokens = torch.tensor([[1, 5, 70, 300]])
    with torch.no_grad():
        expected = model(mel, tokens)
        found = other(input_features=mel, decoder_input_ids=tokens).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_pt_of_a_real_size_takes_the_vocabulary_of_openai_whisper(tmp_path: Path) -> None:
    for vocab_size, multilingual, languages in [(51_864, False, 99), (51_865, True, 99), (51_866, True, 100)]:
        dimensions = replace(SMALL, vocab_size=vocab_size, d_model=8, encoder_ffn=32, decoder_ffn=32)
        state = {
            openai_name(name): np.zeros(shape, np.float16)
            for name, shape in expected_shapes(dimensions).items()
        }
        checkpoint = read_checkpoint(write_pt(tmp_path / f"{vocab_size}.pt", dimensions, state))
        original = openai_tokenizer(multilingual=multilingual, languages=languages)
        ids = checkpoint.token_ids
        assert checkpoint.vocabulary.tokens == tuple(
            b"" if multilingual and i == 50_256 else original.encoding.decode_single_token_bytes(i)
            for i in range(vocab_size)
        )
        assert ids.end_of_text == original.eot
        assert ids.start_of_transcript == original.sot
        assert (ids.transcribe, ids.translate) == (original.transcribe, original.translate)
        assert (ids.start_of_previous, ids.no_speech) == (original.sot_prev, original.no_speech)
        assert (ids.no_timestamps, ids.timestamp_begin) == (original.no_timestamps, original.timestamp_begin)
        expected = dict(zip(original.all_language_codes, original.all_language_tokens, strict=True))
        assert ids.languages == (expected if multilingual else {})


def test_head_alone_serves_as_the_table(small: Checkpoint, tmp_path: Path) -> None:
    folder = write_small_folder(tmp_path / "folder")
    rename_tensors(folder, lambda name: name.replace("model.decoder.embed_tokens", "proj_out"))
    assert_same_tensors(read_checkpoint(folder), small)


def test_names_without_the_model_prefix_are_read(small: Checkpoint, tmp_path: Path) -> None:
    folder = write_small_folder(tmp_path / "folder")
    rename_tensors(folder, lambda name: name.removeprefix("model."))
    assert_same_tensors(read_checkpoint(folder), small)


def rename_tensors(folder: Path, rename: Callable[[str], str]) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    save_file({rename(name): array for name, array in tensors.items()}, folder / "model.safetensors")


def test_bfloat16_is_widened_exactly(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = write_small_folder(tmp_path / "folder")
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors")
    for name, array in read_checkpoint(folder).tensors.items():
        assert array.dtype == np.float32
        assert torch.equal(torch.tensor(array), tensors[f"model.{name}"].float())


def test_tensors_are_mapped_and_cannot_be_changed(small: Checkpoint) -> None:
    for array in small.tensors.values():
        assert not array.flags.owndata
        assert not array.flags.writeable


def test_vocab_and_merges_serve_in_place_of_tokenizer_json(small: Checkpoint, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    folder = write_small_folder(tmp_path / "folder")
    (folder / "tokenizer.json").unlink()
    vocabulary = read_checkpoint(folder).vocabulary
    assert vocabulary.tokens == small.vocabulary.tokens
    text = "the light  isn't (( ♪ ö))"
    expected = Tokenizer.from_str(small.vocabulary.tokenizer_json.decode()).encode(text).ids
    assert Tokenizer.from_str(vocabulary.tokenizer_json.decode()).encode(text).ids == expected


def test_generation_config_overrules_the_vocabulary(tmp_path: Path) -> None:
    folder = write_small_folder(tmp_path / "folder")
    path = folder / "generation_config.json"
    settings: dict[str, Any] = json.loads(path.read_text())
    settings |= {
        "lang_to_id": {"<|en|>": 300, "<|de|>": 301},
        "suppress_tokens": [7, 9],
        "begin_suppress_tokens": None,
        "alignment_heads": [[0, 1], [0, 0]],
        "max_initial_timestamp_index": 75,
    }
    path.write_text(json.dumps(settings))
    ids = read_checkpoint(folder).token_ids
    assert ids.languages == {"en": 300, "de": 301}
    assert (ids.suppress, ids.begin_suppress) == ((7, 9), ())
    assert ids.alignment_heads == ((0, 1), (0, 0))
    assert ids.max_initial_timestamp_index == 75


def read_with_settings(folder: Path, **settings: object) -> TokenIds:
    """The token ids of the small checkpoint with changes to its generation_config.json."""
    path = write_small_folder(folder) / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return read_checkpoint(folder).token_ids


def test_null_settings_and_lists_of_one_are_read_as_transformers_reads_them(
    small: Checkpoint, tmp_path: Path
) -> None:
    ids = small.token_ids
    nothing = dict.fromkeys(
        (
            "no_timestamps_token_id",
            "prev_sot_token_id",
            "decoder_start_token_id",
            "is_multilingual",
            "lang_to_id",
            "task_to_id",
            "alignment_heads",
        )
    )
    found = read_with_settings(
        tmp_path / "folder", eos_token_id=[ids.end_of_text], begin_suppress_tokens=[9], **nothing
    )
    assert found == replace(ids, begin_suppress=(9,))


def test_minus_one_among_suppressed_tokens_is_openais_list(tmp_path: Path) -> None:
    """The list that openai-whisper computes is checked against it elsewhere; random weights are written with it."""
    original = read_small(tmp_path / "original").token_ids.suppress
    assert len(original) > 10
    the = 258
    assert the not in original
    assert read_with_settings(tmp_path / "alone", suppress_tokens=[-1]).suppress == original
    assert read_with_settings(tmp_path / "more", suppress_tokens=[-1, the]).suppress == tuple(
        sorted([the, *original])
    )


def test_old_checkpoints_keep_their_rules_in_config_json(tmp_path: Path) -> None:
    folder = write_small_folder(tmp_path / "folder")
    (folder / "generation_config.json").unlink()
    ids = read_checkpoint(folder).token_ids
    config = json.loads((folder / "config.json").read_text())
    assert ids.suppress == tuple(config["suppress_tokens"])
    assert ids.begin_suppress == tuple(config["begin_suppress_tokens"])
    assert ids.max_initial_timestamp_index is None
    assert len(ids.languages) == 99


def test_dimensions_come_from_the_ggml_header(small: Checkpoint, tmp_path: Path) -> None:
    path = write_ggml(tmp_path / "ggml.bin", SMALL, openai_state(small), base_tokens(small))
    header = struct.unpack("<12i", path.read_bytes()[:48])
    found: ModelDimensions = read_checkpoint(path).dimensions
    assert (found.vocab_size, found.max_source_positions, found.d_model) == header[1:4]
    assert (found.max_target_positions, found.n_mels) == (header[6], header[10])
