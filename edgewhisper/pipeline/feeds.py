"""Calibration data as inputs of the graph files."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import HEADS, GraphInfo, Manifest
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.embedding import TokenEmbedding
from edgewhisper.runtime.encoder import CrossKV, Encoder
from edgewhisper.runtime.kv_cache import info_type
from edgewhisper.runtime.session import SessionSettings, create_session

from .calibration import CalibrationSet

_HEADS_STEPS = 3
"""Steps in a row that heads are observed in."""

Feed = Mapping[str, NDArray[Any]]


def encoder_feeds(calibration: CalibrationSet, most_frames: int | None = None) -> Iterator[Feed]:
    """The encoder's input for each window, or for its first `most_frames` frames."""
    for window in calibration.windows:
        yield {"audio_features": np.ascontiguousarray(window[None, :, :most_frames])}


def decoder_feeds(
    folder: Path, manifest: Manifest, calibration: CalibrationSet, name: str = "decoder"
) -> Iterator[Feed]:
    """Inputs of the decoder, or of a draft, for each window's prompt and text, all tokens at once, over what the encoder gives.

    Keys and values of one window are held at a time.
    """
    encoder = Encoder(folder, manifest, SessionSettings())
    graph = manifest.graph(name)
    embedding = TokenEmbedding(folder, graph)
    heads = graph.kind == HEADS
    decoder = Decoder(folder, manifest, SessionSettings()) if heads else None
    for window, tokens in zip(calibration.windows, calibration.sequences, strict=True):
        cross = encoder.run(window)
        if decoder is not None:
            yield from _heads_feeds(folder, graph, embedding, decoder, cross, tokens)
        else:
            yield _decoder_feed(graph, embedding, cross, tokens)


def _heads_feeds(
    folder: Path,
    graph: GraphInfo,
    embedding: TokenEmbedding,
    decoder: Decoder,
    cross: CrossKV,
    tokens: Sequence[int],
) -> Iterator[dict[str, NDArray[Any]]]:
    """Steps after each token but the last: the first from the decoder's hidden states, further ones from the states they give."""
    decoder.reset(cross)
    decoder.run(tokens[:-1])
    assert decoder.hidden is not None
    state = decoder.hidden[None].copy()
    decoder.release()
    read = {info.name for info in graph.inputs}
    values = {name: value.numpy() for name, value in cross.values.items() if name in read}
    session = create_session(folder, graph, SessionSettings())
    for step in range(1, min(_HEADS_STEPS, len(tokens) - 1) + 1):
        embedded = np.zeros((1, len(tokens) - step, embedding.width), np.float32)
        embedding.rows(tokens[step:], embedded[0])
        feed = {"inputs_embeds": embedded, "state": state, **values}
        yield feed
        (following,) = session.run(["next_state"], feed)
        state = following[:, :-1]


def _decoder_feed(
    graph: GraphInfo, embedding: TokenEmbedding, cross: CrossKV, tokens: Sequence[int]
) -> dict[str, NDArray[Any]]:
    count = len(tokens)
    types = {
        info.name: info_type(info) for info in graph.inputs if info.name.startswith(("past_", "inputs_"))
    }
    embedded = np.zeros((1, count, embedding.width), np.float32)
    embedding.rows(tokens, embedded[0])
    feed: dict[str, NDArray[Any]] = {
        "inputs_embeds": embedded.astype(types["inputs_embeds"], copy=False),
        "position_ids": np.arange(count)[None],
        "seqlens_k": np.array([count - 1], np.int32),
        "total_sequence_length": np.asarray(count, np.int32),
        "logits_from": np.asarray(0, np.int64),
    }
    for info in graph.inputs:
        if "_self_" in info.name:
            feed[info.name] = np.zeros((1, *(int(size) for size in info.shape[1:])), types[info.name])
    read = {info.name for info in graph.inputs}
    return feed | {name: value.numpy() for name, value in cross.values.items() if name in read}
