"""Speech that no training has seen, synthesised anew: with every draft of the bundled model the tokens are those of single steps."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewhisper.distill.corpus import shard_recordings
from edgewhisper.distill.espeak import SAMPLE_RATE
from edgewhisper.pipeline.build import build
from edgewhisper.pipeline.options import BuildOptions, Precision
from edgewhisper.runtime.options import DecodingOptions
from edgewhisper.runtime.transcriber import Transcriber

pytestmark = pytest.mark.slow

RECORDINGS = 500
SHARD = 900  # far from those that anything was trained on
LENGTHS = itertools.cycle((1, 2, 3, 4, 6, 8, 12, 16))


@pytest.fixture(scope="module")
def speech(espeak: None) -> list[NDArray[np.int16]]:
    shards = (shard_recordings(number) for number in itertools.count(SHARD))
    made = itertools.islice(itertools.chain.from_iterable(shards), RECORDINGS)
    return [recording.samples for recording in made]


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-weight"])
@pytest.mark.parametrize("draft", ["heads", "shared:1"])
def test_tokens_are_those_of_single_steps(
    precision: Precision, draft: str, speech: list[NDArray[np.int16]], tmp_path: Path
) -> None:
    """With and without timestamps in turn; fallback stays at temperature 0."""
    options = BuildOptions(precision=precision, draft=draft, gate="off")
    transcriber = Transcriber(build("demo", tmp_path / "artifact", options, parity=False))
    accepted = 0
    for number, samples in enumerate(speech):
        tokens = []
        for speculate in ("off", next(LENGTHS)):
            chosen = DecodingOptions(temperature=(0.0, 0.0), timestamps=number % 2 == 0, speculate=speculate)
            segments, info = transcriber.transcribe(samples, chosen, sample_rate=SAMPLE_RATE)
            tokens.append([segment.tokens for segment in segments])
        accepted += info.statistics.speculation.accepted
        assert tokens[0] == tokens[1], number
    assert accepted > 5 * RECORDINGS
