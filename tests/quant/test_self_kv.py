"""INT8 self-attention caches: small, close to fp32, and exact however many tokens a step takes."""

from pathlib import Path

import numpy as np
import pytest

from edgewhisper.artifact import Manifest
from edgewhisper.export.model_file import load_model
from edgewhisper.quant.calibration import observe
from edgewhisper.quant.self_kv import quantize_self_kv, values_to_observe
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import Encoder
from edgewhisper.runtime.session import SessionSettings
from tests.small_models import SMALL, export, random_checkpoint
from tests.static_models import decoder_feeds, save_graphs

SETTINGS = SessionSettings(threads=2)
TOKENS = np.random.default_rng(5).integers(0, SMALL.vocab_size, 40).tolist()
SOUND = np.random.default_rng(9).standard_normal((SMALL.n_mels, 200), dtype=np.float32)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest, Manifest]:
    """A folder with an fp32 decoder that has INT8 caches, its manifest, and that of the folder `fp32` in it."""
    folder = tmp_path_factory.mktemp("self-kv")
    source = folder / "fp32"
    manifest = export(random_checkpoint(), source)
    encoder, decoder = (load_model(source / f"{name}.onnx") for name in ("encoder", "decoder"))
    values = values_to_observe(decoder)
    statistics = observe(source / "decoder.onnx", values, decoder_feeds(source, manifest))
    quantize_self_kv(decoder, values, statistics, {})
    written = save_graphs(manifest, {"encoder": encoder, "decoder": decoder}, folder, quantized=False)
    return folder, written, manifest


def test_logits_are_close_to_those_of_an_fp32_cache(converted: tuple[Path, Manifest, Manifest]) -> None:
    folder, manifest, whole = converted
    found = []
    for place, described in ((folder, manifest), (folder / "fp32", whole)):
        decoder = Decoder(place, described, SETTINGS)
        decoder.reset(Encoder(place, described, SETTINGS).run(SOUND))
        found.append(np.concatenate([decoder.run(TOKENS[:10]).copy(), decoder.run(TOKENS[10:]).copy()]))
    error = np.linalg.norm(found[0] - found[1]) / np.linalg.norm(found[1])
    assert 0 < error < 0.05


def test_every_cache_is_int8(converted: tuple[Path, Manifest, Manifest]) -> None:
    graph = converted[1].graph("decoder")
    caches = [info for info in (*graph.inputs, *graph.outputs) if "_self_" in info.name]
    assert len(caches) == 4 * SMALL.decoder_layers
    assert {info.dtype for info in caches} == {"int8"}


def test_logits_do_not_depend_on_how_many_tokens_a_step_takes(
    converted: tuple[Path, Manifest, Manifest],
) -> None:
    folder, manifest, _ = converted
    decoder = Decoder(folder, manifest, SETTINGS)
    decoder.reset(Encoder(folder, manifest, SETTINGS).run(SOUND))
    single = np.concatenate([decoder.run([token]).copy() for token in TOKENS])
    for size in (2, 3, 5, 8, 16):
        decoder.rollback(0)
        steps = [TOKENS[start : start + size] for start in range(0, len(TOKENS), size)]
        assert np.array_equal(np.concatenate([decoder.run(step).copy() for step in steps]), single), size
    decoder.rollback(20)
    assert np.array_equal(decoder.run([TOKENS[20], 1, 2, 3])[0], single[20])
