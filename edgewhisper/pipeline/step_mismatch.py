"""Dynamic INT8 decoders: how far steps of several tokens are from steps of one.

One range spans all rows of a step, so a token's logits depend on what it is decoded with. Other precisions are exact to the bit, with single rows run as two where the device needs it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgewhisper.artifact import GraphInfo
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import Encoder
from edgewhisper.runtime.session import SessionSettings

from .calibration import CalibrationSet
from .source import Source

# Tokens per step, as verification uses them.
_COUNTS = (2, 4, 8, 16)
# Positions to compare are enough after so many.
_POSITIONS = 100


@dataclass(frozen=True)
class StepMismatch:
    """Steps of several tokens against single ones.

    Attributes:
        tokens_per_step: what was compared with single steps.
        rows: rows of logits compared.
        differing: rows with another bit.
        largest_difference: of any logit.
        other_tokens: rows whose likeliest token is another.
    """

    tokens_per_step: tuple[int, ...]
    rows: int
    differing: int
    largest_difference: float
    other_tokens: int


def measure_steps(
    source: Source, graphs: Mapping[str, GraphInfo], folder: Path, calibration: CalibrationSet
) -> StepMismatch:
    """Decode calibration text in single steps and in longer ones."""
    manifest = source.manifest(graphs)
    encoder = Encoder(folder, manifest, SessionSettings())
    decoder = Decoder(folder, manifest, SessionSettings())
    rows = differing = others = 0
    largest = 0.0
    for window, tokens in zip(calibration.windows, calibration.sequences, strict=True):
        decoder.reset(encoder.run(window))
        single = np.stack([decoder.run([token])[0].copy() for token in tokens])
        for count in _COUNTS:
            decoder.rollback(0)
            for start in range(0, len(tokens) - count + 1, count):
                together = decoder.run(tokens[start : start + count])
                expected = single[start : start + count]
                difference = np.abs(together - expected).max(axis=-1)
                rows += count
                differing += int((difference > 0).sum())
                largest = max(largest, float(difference.max()))
                others += int((together.argmax(-1) != expected.argmax(-1)).sum())
        if rows >= _POSITIONS * len(_COUNTS):
            break
    return StepMismatch(_COUNTS, rows, differing, largest, others)
