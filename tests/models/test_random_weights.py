"""Random checkpoints: reproducible, readable by transformers, and they stop where they are told to."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewhisper.artifact import sha256_of
from edgewhisper.errors import CheckpointError, OutputError, UsageError
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.random_weights import write_random_checkpoint
from edgewhisper.models.reader import read_checkpoint
from tests.models.checkpoint_files import SMALL, read_small, write_small_folder


def greedy(folder: Path, checkpoint: Checkpoint, mel: Any, dtype: str = "float32") -> list[int]:
    """What transformers' greedy `generate` gives after the prompt; weights rounded to `dtype`, computed in float32."""
    import torch
    from transformers import WhisperForConditionalGeneration

    model = (
        WhisperForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype)).float().eval()
    )
    ids = checkpoint.token_ids
    language = {"language": "en", "task": "transcribe"} if ids.is_multilingual else {}
    prompt = [ids.start_of_transcript, ids.no_timestamps]
    if ids.is_multilingual:
        assert ids.transcribe is not None
        prompt[1:1] = [ids.languages["en"], ids.transcribe]
    result = model.generate(torch.tensor(mel), return_dict_in_generate=True, **language)
    found: list[int] = result["sequences"][0].tolist()
    assert found[: len(prompt)] == prompt
    return found[len(prompt) :]


def noise(checkpoint: Checkpoint, seed: int) -> Any:
    shape = (1, checkpoint.dimensions.n_mels, 2 * checkpoint.dimensions.max_source_positions)
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("multilingual", [True, False])
@pytest.mark.parametrize("tokens", [1, 20, 41])
def test_end_of_text_comes_after_exactly_the_given_tokens(
    tmp_path: Path, tokens: int, multilingual: bool
) -> None:
    folder = write_small_folder(tmp_path / "small", tokens=tokens, multilingual=multilingual)
    checkpoint = read_checkpoint(folder)
    end_of_text = checkpoint.token_ids.end_of_text
    for seed in range(3):
        found = greedy(folder, checkpoint, noise(checkpoint, seed))
        assert len(found) == tokens + 1
        assert found[-1] == end_of_text
        assert max(found[:-1]) < end_of_text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny.en", "tiny"])
def test_real_shapes_stop_in_both_float_precisions(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    write_random_checkpoint(name, folder, tokens=20)
    checkpoint = read_checkpoint(folder)
    for dtype in ("float32", "float16"):
        found = greedy(folder, checkpoint, noise(checkpoint, 0), dtype)
        assert len(found) == 21
        assert found[-1] == checkpoint.token_ids.end_of_text
        assert max(found[:-1]) < checkpoint.token_ids.end_of_text
        assert len(set(found)) > 10


@pytest.mark.slow
def test_processor_of_transformers_loads_a_real_shape(tmp_path: Path) -> None:
    from transformers import WhisperProcessor, WhisperTokenizer

    write_random_checkpoint("tiny.en", tmp_path / "tiny.en")
    processor = WhisperProcessor.from_pretrained(tmp_path / "tiny.en")
    slow = WhisperTokenizer.from_pretrained(tmp_path / "tiny.en")
    text = "Hello world, it's 7 o'clock."
    ids = processor.tokenizer(text, add_special_tokens=False).input_ids
    assert slow(text, add_special_tokens=False).input_ids == ids
    assert processor.decode(ids, skip_special_tokens=True) == text
    assert processor.tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", "<|0.00|>"]) == [
        50_257,
        50_363,
    ]
    assert processor(np.zeros(16_000), sampling_rate=16_000).input_features[0].shape == (80, 3000)


def test_weights_depend_on_the_seed_alone(tmp_path: Path) -> None:
    folders = [write_small_folder(tmp_path / name) for name in ("one", "two")]
    files = [{path.name: sha256_of(path) for path in folder.iterdir()} for folder in folders]
    assert files[0] == files[1]


def test_other_seeds_give_other_weights(tmp_path: Path) -> None:
    tensors = [
        read_checkpoint(write_small_folder(tmp_path / f"{seed}", seed=seed)).tensors for seed in (0, 1)
    ]
    drawn = set(tensors[0]) - {"encoder.embed_positions.weight"}
    assert not any(np.array_equal(tensors[0][name], tensors[1][name]) for name in drawn)


def test_file_is_what_the_safetensors_package_reads(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    checkpoint = read_small(tmp_path / "small")
    stored = load_file(tmp_path / "small" / "model.safetensors")
    assert set(stored) == {f"model.{name}" for name in checkpoint.tensors}
    for name, array in checkpoint.tensors.items():
        np.testing.assert_array_equal(stored[f"model.{name}"], array)


def test_encoder_positions_are_those_of_openai_whisper(tmp_path: Path) -> None:
    from whisper.model import sinusoids

    found = read_small(tmp_path / "small").tensors["encoder.embed_positions.weight"]
    expected = sinusoids(SMALL.max_source_positions, SMALL.d_model).numpy()
    np.testing.assert_allclose(found.astype(np.float32), expected, atol=2e-5)


def test_random_weights_are_marked(tmp_path: Path) -> None:
    folder = write_small_folder(tmp_path / "small")
    assert json.loads((folder / "config.json").read_text())["edgewhisper_random_weights"] is True
    assert read_checkpoint(folder).model.random_weights


@pytest.mark.parametrize("tokens", [0, -1, 444, 10_000])
def test_tokens_that_do_not_fit_are_refused(tmp_path: Path, tokens: int) -> None:
    with pytest.raises(UsageError, match="can stop after 1 to 443 tokens"):
        write_random_checkpoint("tiny", tmp_path / "tiny", tokens=tokens)
    assert not any(tmp_path.iterdir())


def test_unknown_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="did you mean tiny"):
        write_random_checkpoint("tiny.fr", tmp_path / "tiny")


def test_folders_with_other_things_are_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds no random weights"):
        write_random_checkpoint("tiny.en", tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
