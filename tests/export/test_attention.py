"""The encoder's self-attention against its definition in float64."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgewhisper.export.attention import PIECES, attend_in_pieces, self_attention
from edgewhisper.export.builder import GraphBuilder
from edgewhisper.export.encoder import FLOAT
from edgewhisper.export.layers import Layers
from edgewhisper.export.model_file import write_model
from edgewhisper.export.weights import WeightsWriter

Tensors = dict[str, NDArray[np.float32]]


def random_projections(heads: int, head_dim: int, width: int, sharpness: float, seed: int) -> Tensors:
    """Input projections of an attention over states of `width`; Whisper's keys have no bias."""
    random = np.random.default_rng(seed)
    tensors: Tensors = {}
    for name in ("q_proj", "k_proj", "v_proj"):
        matrix = random.standard_normal((heads * head_dim, width)) * sharpness / np.sqrt(width)
        tensors[f"attention.{name}.weight"] = matrix.astype(np.float32)
    for name in ("q_proj", "v_proj"):
        tensors[f"attention.{name}.bias"] = random.standard_normal(heads * head_dim).astype(np.float32)
    return tensors


def session_of(
    tensors: Tensors, head_dim: int, width: int, folder: Path, in_pieces: bool = False
) -> onnxruntime.InferenceSession:
    with WeightsWriter(folder / "weights.bin") as weights:
        graph = GraphBuilder("attention", weights)
        x = graph.input("x", FLOAT, ["batch", "positions", width])
        attended = self_attention(Layers(graph, tensors), x, "attention", head_dim)
        graph.output(attended, "y", FLOAT, ["batch", "positions", len(tensors["attention.v_proj.bias"])])
    model = graph.model("0")
    if in_pieces:
        attend_in_pieces(model)
        assert sum(node.op_type == "MultiHeadAttention" for node in model.graph) == PIECES
    write_model(model, folder / "attention.onnx")
    return onnxruntime.InferenceSession(folder / "attention.onnx", providers=["CPUExecutionProvider"])


def definition(tensors: Tensors, head_dim: int, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """softmax(q k^T / sqrt(D)) v per head, the heads side by side (arXiv 1706.03762)."""
    batch, positions, _ = x.shape
    projected = []
    for name in ("q_proj", "k_proj", "v_proj"):
        y = x.astype(np.float64) @ tensors[f"attention.{name}.weight"].T.astype(np.float64)
        y = y + tensors.get(f"attention.{name}.bias", np.float32(0))
        projected.append(y.reshape(batch, positions, -1, head_dim).transpose(0, 2, 1, 3))
    query, key, value = projected
    scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(head_dim)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    joined: NDArray[np.float64] = (weights @ value).transpose(0, 2, 1, 3).reshape(batch, positions, -1)
    return joined


@given(
    heads=st.integers(1, 4),
    head_dim=st.sampled_from([16, 48, 64]),
    spare=st.integers(0, 8),
    batch=st.integers(1, 3),
    positions=st.integers(1, 150),
    sharpness=st.sampled_from([0.1, 1.0, 5.0]),
    seed=st.integers(0, 2**16),
    in_pieces=st.booleans(),
)
def test_attention_follows_its_definition(
    tmp_path_factory: pytest.TempPathFactory,
    heads: int, head_dim: int, spare: int, batch: int, positions: int, sharpness: float, seed: int, in_pieces: bool,
) -> None:  # fmt: skip
    positions = max(positions, PIECES if in_pieces else 1)
    width = heads * head_dim + spare  # with pruned heads, the states are wider than the heads together
    tensors = random_projections(heads, head_dim, width, sharpness, seed)
    x = np.random.default_rng(seed + 1).standard_normal((batch, positions, width), dtype=np.float32)
    folder = tmp_path_factory.mktemp("attention")
    (actual,) = session_of(tensors, head_dim, width, folder, in_pieces).run(None, {"x": x})
    expected = definition(tensors, head_dim, x)
    assert isinstance(actual, np.ndarray)
    assert np.linalg.norm(actual - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_whole_window_and_shorter_ones_run_on_one_session(in_pieces: bool, tmp_path: Path) -> None:
    tensors = random_projections(2, 64, 128, sharpness=2.0, seed=0)
    session = session_of(tensors, 64, 128, tmp_path, in_pieces)
    for positions in (1500, 377, PIECES if in_pieces else 1):
        x = np.random.default_rng(positions).standard_normal((1, positions, 128), dtype=np.float32)
        (actual,) = session.run(None, {"x": x})
        expected = definition(tensors, 64, x)
        assert isinstance(actual, np.ndarray)
        assert np.linalg.norm(actual - expected) < 1e-5 * np.linalg.norm(expected)
