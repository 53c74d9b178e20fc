"""A Whisper of a few hundred thousand random parameters, saved as transformers saves it, and its artifact."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgewhisper.artifact import ModelDimensions
from edgewhisper.models.generation import find_token_ids
from edgewhisper.models.random_weights import write_random_folder
from edgewhisper.models.tokenizer import build_vocabulary, timestamp_token
from edgewhisper.pipeline.build import build

SPECIAL = [
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>",
    "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>", *(timestamp_token(index) for index in range(101)),
]  # fmt: skip


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformers folder; every byte is a token, the window is 2 s. Shared: read it, do not change it."""
    base = [*(bytes([byte]) for byte in range(256)), b" t", b"he", b" the"]
    vocabulary = build_vocabulary(base, SPECIAL)
    dimensions = ModelDimensions(
        n_mels=80, d_model=64, encoder_layers=2, encoder_heads=4, encoder_ffn=256, decoder_layers=2, decoder_heads=4,
        decoder_ffn=256, vocab_size=len(vocabulary.tokens), max_source_positions=100, max_target_positions=128,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("checkpoints") / "small"
    ids = find_token_ids(vocabulary.tokens, multilingual=True, source="test")
    write_random_folder(folder, dimensions, vocabulary, ids)
    return folder


@pytest.fixture(scope="session")
def small_artifact(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of that checkpoint, with a parity report. Shared: read it, do not change it."""
    return build(small_checkpoint, tmp_path_factory.mktemp("artifacts") / "small", parity=True)


@pytest.fixture(scope="session")
def speech_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of noise, and a file that is none. Shared: read it, do not change it."""
    folder = tmp_path_factory.mktemp("speech")
    for number in range(6):
        random = np.random.default_rng(number)
        soundfile.write(
            folder / f"{number}.flac", 0.1 * random.standard_normal(30_000 + 9000 * number), 16_000
        )
    (folder / "broken.wav").write_bytes(b"RIFF")
    return folder
