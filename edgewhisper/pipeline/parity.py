"""Parity: the graphs of an artifact against the reference, on a fixed input.

The input is pseudo-random: rounding differs with the values, agreement does not depend on their being speech.
"""

from collections.abc import Mapping, Sequence
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
from edgewhisper.runtime.onnxruntime_import import onnxruntime
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


@dataclass(frozen=True)
class Expected:
    """The fixed input and what the reference makes of it.

    Attributes:
        versions: package -> version of the reference.
        log_mel: one window, [n_mels, frames].
        tokens: a token for every position of the decoder.
        calls: how the decoder is to be given the tokens.
        cross_kv: past_key_cross_i and past_value_cross_i [heads, positions, head_dim] of each decoder layer i.
        logits: position -> logits [vocab] after its token, for all rows of `calls`.
    """

    versions: Mapping[str, str]
    log_mel: Floats
    tokens: Sequence[int]
    calls: Sequence[DecoderCall]
    cross_kv: Mapping[str, Floats]
    logits: Mapping[int, Floats]


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
    """The outcome of a parity check.

    Attributes:
        versions: package -> version, of ONNX Runtime and of the reference.
        tolerance: of every relative error; no argmax may differ.
        graphs: graph file -> kind of result -> comparison.
    """

    versions: dict[str, str]
    tolerance: float
    graphs: dict[str, dict[str, Comparison]]


def compute_expected(checkpoint: Checkpoint) -> Expected:
    """Run the reference on the fixed input."""
    dims = checkpoint.dimensions
    random = np.random.default_rng(SEED)
    log_mel = random.uniform(-1, 1.5, (dims.n_mels, 2 * dims.max_source_positions)).astype(np.float32)
    tokens: list[int] = random.integers(0, dims.vocab_size, dims.max_target_positions).tolist()
    tokens[0] = checkpoint.token_ids.start_of_transcript
    calls = decoder_calls(dims.max_target_positions)
    rows = sorted({row for call in calls for row in call.rows})
    reference = Reference(checkpoint)
    cross_kv, states = reference.cross_kv(log_mel)
    logits = reference.logits(tokens, states, rows)
    return Expected(
        reference.versions, log_mel, tokens, calls, cross_kv, dict(zip(rows, logits, strict=True))
    )


def measure_parity(folder: Path, manifest: Manifest, expected: Expected) -> ParityReport:
    """Run the graphs in `folder` on the fixed input and compare."""

    cross_kv = Encoder(folder, manifest, SessionSettings()).run(expected.log_mel)
    graphs = {
        manifest.graph("encoder").file: _compare_cross_kv(cross_kv, expected),
        manifest.graph("decoder").file: _compare_logits(folder, manifest, cross_kv, expected),
    }
    return ParityReport({"onnxruntime": onnxruntime().__version__, **expected.versions}, TOLERANCE, graphs)


def require_parity(report: ParityReport) -> None:
    """Refuse graphs that differ from the reference.

    Raises:
        BuildError: a relative error beyond the tolerance, or another argmax; names the graph and the figure.
    """
    hint = "nothing was written; try the ONNX Runtime release of the constraints file"
    for file, comparisons in report.graphs.items():
        for kind, found in comparisons.items():
            if not found.relative_error <= report.tolerance:
                raise BuildError(
                    f"{file}: relative error of {kind} against PyTorch is {found.relative_error:.1e}, "
                    f"more than {report.tolerance:.0e}; {hint}"
                )
            if found.argmax_differences:
                raise BuildError(
                    f"{file}: PyTorch chooses another token in {found.argmax_differences} of {found.rows} rows "
                    f"({kind}); {hint}"
                )


def decoder_calls(max_length: int) -> list[DecoderCall]:
    """The calls to compare, in order; a call that starts before the end of the last one needs a rollback."""
    end, last = sum(CALLS), max_length - sum(LAST_CALLS)
    calls = _consecutive(0, CALLS)
    if last > end:
        calls.append(DecoderCall("prefill", end, last - end, last - end - 1))
    calls += _consecutive(last, LAST_CALLS)
    calls += _consecutive(RESUME_AT, RESUME_CALLS)
    fitting: list[DecoderCall] = []
    length = 0
    for call in calls:
        if 0 <= call.start <= length and call.start + call.count <= max_length:
            fitting.append(call)
            length = call.start + call.count
    return fitting


def _consecutive(start: int, counts: Sequence[int]) -> list[DecoderCall]:
    starts = accumulate(counts[:-1], initial=start)
    return [DecoderCall(_kind(at, count), at, count) for at, count in zip(starts, counts, strict=True)]


def _kind(start: int, count: int) -> str:
    if start == 0:
        return "prefill"
    return "step" if count == 1 else "several tokens"


def relative_error(result: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    """||result - expected|| / ||expected|| in float64; infinite where a NaN or an infinity turns up."""
    difference = np.linalg.norm((result.astype(np.float64) - expected).ravel())
    error = float(difference / np.linalg.norm(expected.astype(np.float64).ravel()))
    return error if np.isfinite(error) else float("inf")


def _compare_cross_kv(cross_kv: CrossKV, expected: Expected) -> dict[str, Comparison]:
    errors = {"keys": 0.0, "values": 0.0}
    for name, reference in expected.cross_kv.items():
        kind = "keys" if "_key_" in name else "values"
        errors[kind] = max(errors[kind], relative_error(cross_kv.values[name].numpy()[0], reference))
    return {kind: Comparison(error) for kind, error in errors.items()}


def _compare_logits(
    folder: Path, manifest: Manifest, cross_kv: CrossKV, expected: Expected
) -> dict[str, Comparison]:
    decoder = Decoder(folder, manifest, SessionSettings())
    decoder.reset(cross_kv)
    comparisons: dict[str, Comparison] = {}
    for call in expected.calls:
        decoder.rollback(call.start)
        logits = decoder.run(expected.tokens[call.start : call.start + call.count], call.logits_from)
        reference = np.stack([expected.logits[row] for row in call.rows])
        so_far = comparisons.get(call.kind, Comparison(0.0))
        comparisons[call.kind] = Comparison(
            max(so_far.relative_error, relative_error(logits, reference)),
            so_far.argmax_differences + int((logits.argmax(-1) != reference.argmax(-1)).sum()),
            so_far.rows + len(reference),
        )
    return comparisons
