"""INT8 keys and values of cross-attention: what they cost, and that they keep rows apart."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgewhisper.artifact import Manifest
from edgewhisper.errors import BuildError
from edgewhisper.export.model_file import load_model
from edgewhisper.quant.cross_attention import decoder_values_to_observe, encoder_values_to_observe, readers
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import Encoder
from edgewhisper.runtime.session import SessionSettings
from tests.decoder_steps import in_drawn_steps, one_at_a_time
from tests.small_models import SMALL, random_checkpoint
from tests.static_models import export_static

SETTINGS = SessionSettings(threads=2)
HEAD_DIM = SMALL.d_model // SMALL.decoder_heads
TOKENS = np.random.default_rng(5).integers(0, SMALL.vocab_size, SMALL.max_target_positions).tolist()
token_lists = st.lists(st.integers(0, SMALL.vocab_size - 1), min_size=1, max_size=40)


def sound(frames: int = 200) -> NDArray[np.float32]:
    return np.random.default_rng(9).standard_normal((SMALL.n_mels, frames), dtype=np.float32)


def decoder_over(folder: Path, manifest: Manifest, frames: int = 200) -> Decoder:
    decoder = Decoder(folder, manifest, SETTINGS)
    decoder.reset(Encoder(folder, manifest, SETTINGS).run(sound(frames)))
    return decoder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("int8")
    return folder, export_static(random_checkpoint(), folder)


@pytest.fixture(scope="module")
def decoder(small: tuple[Path, Manifest]) -> Decoder:
    return decoder_over(*small)


def test_keys_and_values_are_int8_in_the_products_layout(small: tuple[Path, Manifest]) -> None:
    folder, manifest = small
    heads = SMALL.decoder_heads
    shapes = {
        "key": ("batch", heads, HEAD_DIM, "positions"),
        "value": ("batch", heads, "positions", HEAD_DIM),
    }
    for graph, tensors in (("encoder", "outputs"), ("decoder", "inputs")):
        infos = [info for info in getattr(manifest.graph(graph), tensors) if "_cross_" in info.name]
        assert len(infos) == 2 * SMALL.decoder_layers
        for info in infos:
            assert (info.dtype, info.shape) == ("int8", shapes[info.name.split("_")[1]])
    cross = Encoder(folder, manifest, SETTINGS).run(sound()).values
    assert cross["past_key_cross_0"].numpy().shape == (1, heads, HEAD_DIM, 100)


def test_keys_and_values_in_int8_lose_little_more_than_the_weights(
    small: tuple[Path, Manifest], tmp_path: Path
) -> None:
    folder, _ = small
    weights_only = export_static(random_checkpoint(), tmp_path, cross=False)
    reference = decoder_over(tmp_path, weights_only).run(TOKENS)
    logits = decoder_over(*small).run(TOKENS)
    # Both round other values; their distance is the sum of two roundings.
    assert np.linalg.norm(logits - reference) / np.linalg.norm(reference) < 0.12
    assert folder != tmp_path


def test_short_windows_work(small: tuple[Path, Manifest]) -> None:
    logits = decoder_over(*small, frames=20).run(TOKENS[:3])
    assert np.isfinite(logits).all()


@given(tokens=token_lists, data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_logits_do_not_depend_on_how_many_tokens_a_step_takes(
    decoder: Decoder, tokens: list[int], data: st.DataObject
) -> None:
    expected = one_at_a_time(decoder, tokens)
    assert np.array_equal(in_drawn_steps(decoder, tokens, data), expected)


@given(tokens=token_lists, rejected=token_lists)
@settings(max_examples=40)
def test_logits_do_not_depend_on_rejected_tokens(
    decoder: Decoder, tokens: list[int], rejected: list[int]
) -> None:
    decoder.rollback(0)
    decoder.run(tokens[:-1] or [1])
    past = decoder.length
    alone = decoder.run(tokens[-1:])[0].copy()
    decoder.rollback(past)
    assert np.array_equal(decoder.run([tokens[-1], *rejected[:15]])[0], alone)


def test_avx2_keys_and_values_have_seven_bits_whatever_the_sound(tmp_path: Path) -> None:
    manifest = export_static(random_checkpoint(), tmp_path, "x86-avx2")
    loud = Encoder(tmp_path, manifest, SETTINGS).run(100 * sound())
    largest = max(np.abs(value.numpy().astype(np.int64)).max() for value in loud.values.values())
    assert largest == 63


def test_changed_values_have_other_names_and_results_keep_theirs(small: tuple[Path, Manifest]) -> None:
    folder, _ = small
    before, after = (
        {name for node in onnx.load(path, load_external_data=False).graph.node for name in node.output}
        for path in (folder / "fp32" / "decoder.onnx", folder / "decoder.onnx")
    )
    for attention in readers(load_model(folder / "fp32" / "decoder.onnx")):
        assert attention.query.output.name not in after
        assert attention.output.output.name in before & after


def test_int8_keys_are_not_quantized_again(small: tuple[Path, Manifest]) -> None:
    folder, _ = small
    with pytest.raises(BuildError, match=r"already quantized|build the fp32 artifact again"):
        encoder_values_to_observe(load_model(folder / "encoder.onnx"))
    with pytest.raises(BuildError, match="already quantized"):
        decoder_values_to_observe(load_model(folder / "decoder.onnx"))
