"""Exactness of static INT8 in the shape of tiny.en, where ONNX Runtime takes the kernels that it takes for real models."""

import numpy as np
import pytest

from edgewhisper.artifact import ModelDimensions
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import Encoder
from edgewhisper.runtime.session import SessionSettings
from tests.small_models import random_checkpoint
from tests.static_models import export_static

TINY = ModelDimensions(
    n_mels=80, d_model=384, encoder_layers=4, encoder_heads=6, encoder_ffn=1536, decoder_layers=4, decoder_heads=6,
    decoder_ffn=1536, vocab_size=51864, max_source_positions=1500, max_target_positions=448,
)  # fmt: skip
SETTINGS = SessionSettings(threads=2)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    folder = tmp_path_factory.mktemp("tiny")
    manifest = export_static(random_checkpoint(TINY), folder)
    decoder = Decoder(folder, manifest, SETTINGS)
    sound = np.random.default_rng(0).standard_normal((80, 3000), dtype=np.float32)
    decoder.reset(Encoder(folder, manifest, SETTINGS).run(sound))
    return decoder


@pytest.mark.slow
def test_every_number_of_tokens_gives_the_bits_of_single_steps(decoder: Decoder) -> None:
    tokens = np.random.default_rng(3).integers(0, TINY.vocab_size, TINY.max_target_positions).tolist()
    decoder.rollback(0)
    expected = np.concatenate([decoder.run([token]).copy() for token in tokens])
    for count in range(2, 17):
        decoder.rollback(0)
        while decoder.length < len(tokens):
            begin = decoder.length
            logits = decoder.run(tokens[begin : begin + count])
            assert np.array_equal(logits, expected[begin : begin + count]), (count, begin)


@pytest.mark.slow
def test_later_tokens_change_nothing(decoder: Decoder) -> None:
    random = np.random.default_rng(4)
    tokens = random.integers(0, TINY.vocab_size, TINY.max_target_positions).tolist()
    decoder.rollback(0)
    for position, token in enumerate(tokens[:-16]):
        count = int(random.integers(1, 16))
        rejected = random.integers(0, TINY.vocab_size, count).tolist()
        first = decoder.run([token, *rejected])[0].copy()
        decoder.rollback(position)
        assert np.array_equal(decoder.run([token])[0], first), position
