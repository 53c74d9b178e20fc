"""Parity: the graphs of an artifact against the reference, on a fixed input.

The input is pseudo-random: rounding differs with the values, agreement does not depend on their being speech.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import Manifest
from edgewhisper.errors import BuildError
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import CrossKV, Encoder
from edgewhisper.runtime.session import SessionSettings

from .reference import Floats, Reference

# ||a - b|| / ||b||. Sound fp32 graphs stay about a hundred times below it, a wrong constant is far beyond.
TOLERANCE = 1e-4
SEED = 20_220_921
# Tokens per decoder call, from an empty cache: a prompt, single steps, then all the numbers that verification uses.
CALLS = (4, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 16)
# The same again at the end of the cache, after one call that fills all between.
LAST_CALLS = (16, 1, 8, 1, 3, 1)
# Where decoding resumes after a rollback, and in how many tokens.
RESUME_AT, RESUME_CALLS = 6, (5, 1, 2)


@dataclass(frozen=True)
class Comparison:
    """How far one kind of result is from the reference.

    Attributes:
        relative_error: the largest ||a - b|| / ||b|| of all arrays compared.
        argmax_differences: rows of logits whose largest entry is another token's.
        rows: rows of logits compared; 0 for keys and values.
    """

    relative_error: float
    argmax_differences: int = 0
    rows: int = 0


@dataclass(frozen=True)
class ParityReport:
    """The outcome of a parity check: graph -> kind of result -> comparison."""

    reference: dict[str, str]  # package -> version
    tolerance: float  # of every relative error; no argmax may differ
    graphs: dict[str, dict[str, Comparison]]


@dataclass(frozen=True)
class DecoderCall:
    """One call of the decoder: `count` tokens after the first `start`, logits from row `logits_from` of them."""

    kind: str
    start: int
    count: int
    logits_from: int = 0

    @property
    def rows(self) -> range:
        """Positions of the tokens whose following logits are compared."""
        return range(self.start + self.logits_from, self.start + self.count)


def check_parity(checkpoint: Checkpoint, folder: Path, manifest: Manifest) -> ParityReport:
    """Compare the graphs in `folder` with the reference.

    Raises:
        BuildError: a relative error beyond the tolerance, or another argmax; names the graph and the figure.
    """
    dims = manifest.dimensions
    random = np.random.default_rng(SEED)
    log_mel = random.uniform(-1, 1.5, (dims.n_mels, manifest.audio.n_frames)).astype(np.float32)
    tokens = random.integers(0, dims.vocab_size, dims.max_target_positions).tolist()
    tokens[0] = manifest.tokens.start_of_transcript
    calls = decoder_calls(dims.max_target_positions)

    # One after the other, so that the reference's memory is free when the graphs are loaded.
    rows = sorted({row for call in calls for row in call.rows})
    reference = Reference(checkpoint)
    versions = reference.versions
    cross, states = reference.cross_kv(log_mel)
    expected = dict(zip(rows, reference.logits(tokens, states, rows), strict=True))
    del reference, states

    encoder, cross_kv = _encode(folder, manifest, log_mel, cross)
    decoder = _decode(folder, manifest, cross_kv, tokens, calls, expected)
    report = ParityReport(versions, TOLERANCE, {"encoder": encoder, "decoder": decoder})
    _refuse_beyond_tolerance(report, manifest)
    return report


def decoder_calls(max_length: int) -> list[DecoderCall]:
    """The calls to compare, in order; a call that starts before the end of the last one needs a rollback."""
    end, last = sum(CALLS), max_length - sum(LAST_CALLS)
    calls = _consecutive(0, CALLS)
    if last > end:
        calls.append(DecoderCall("prefill", end, last - end, last - end - 1))
    calls += _consecutive(last, LAST_CALLS)
    calls += _consecutive(RESUME_AT, RESUME_CALLS)
    return [call for call in calls if call.start >= 0 and call.start + call.count <= max_length]


def _consecutive(start: int, counts: Sequence[int]) -> list[DecoderCall]:
    starts = accumulate(counts[:-1], initial=start)
    return [DecoderCall(_kind(at, count), at, count) for at, count in zip(starts, counts, strict=True)]


def _kind(start: int, count: int) -> str:
    if start == 0:
        return "prefill"
    return "step" if count == 1 else "several tokens"


def relative_error(result: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    """||result - expected|| / ||expected|| in float64; infinite for NaN and infinities."""
    difference = np.linalg.norm((result.astype(np.float64) - expected).ravel())
    error = float(difference / np.linalg.norm(expected.astype(np.float64).ravel()))
    return error if np.isfinite(error) else float("inf")


def _encode(
    folder: Path, manifest: Manifest, log_mel: Floats, expected: dict[str, Floats]
) -> tuple[dict[str, Comparison], CrossKV]:
    cross_kv = Encoder(folder, manifest, SessionSettings()).run(log_mel)
    errors: dict[str, float] = {"keys": 0.0, "values": 0.0}
    for name, reference in expected.items():
        kind = "keys" if "_key_" in name else "values"
        errors[kind] = max(errors[kind], relative_error(cross_kv.values[name].numpy()[0], reference))
    return {kind: Comparison(error) for kind, error in errors.items()}, cross_kv


def _decode(
    folder: Path,
    manifest: Manifest,
    cross_kv: CrossKV,
    tokens: Sequence[int],
    calls: Sequence[DecoderCall],
    expected: dict[int, Floats],
) -> dict[str, Comparison]:
    decoder = Decoder(folder, manifest, SessionSettings())
    decoder.reset(cross_kv)
    comparisons: dict[str, Comparison] = {}
    for call in calls:
        decoder.rollback(call.start)
        logits = decoder.run(tokens[call.start : call.start + call.count], call.logits_from)
        reference = np.stack([expected[row] for row in call.rows])
        so_far = comparisons.get(call.kind, Comparison(0.0))
        comparisons[call.kind] = Comparison(
            max(so_far.relative_error, relative_error(logits, reference)),
            so_far.argmax_differences + int((logits.argmax(-1) != reference.argmax(-1)).sum()),
            so_far.rows + len(reference),
        )
    return comparisons


def _refuse_beyond_tolerance(report: ParityReport, manifest: Manifest) -> None:
    for graph, comparisons in report.graphs.items():
        file = manifest.graph(graph).file
        for kind, found in comparisons.items():
            if not found.relative_error <= report.tolerance:
                raise BuildError(
                    f"{file}: {kind} differ from PyTorch's by {found.relative_error:.1e}, more than "
                    f"{report.tolerance:.0e}; nothing was written, try another ONNX Runtime release"
                )
            if found.argmax_differences:
                raise BuildError(
                    f"{file}: PyTorch chooses another token in {found.argmax_differences} of {found.rows} rows ({kind}); "
                    "nothing was written, try another ONNX Runtime release"
                )
