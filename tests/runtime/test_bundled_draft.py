"""The bundled model with its draft: the same text, and guesses that are mostly right."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from edgewhisper.models.draft import Kind, read_draft
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.pipeline.build import build
from edgewhisper.pipeline.draft_choice import BUNDLED
from edgewhisper.pipeline.options import BuildOptions, Precision
from edgewhisper.runtime.options import DecodingOptions
from edgewhisper.runtime.transcriber import Transcriber
from tests.conftest import BundledRecording

Text = list[tuple[int, ...]]


def artifact(folder: Path, precision: Precision, draft: str) -> Transcriber:
    options = BuildOptions(precision=precision, draft=draft, gate="off")
    return Transcriber(build("demo", folder / precision, options, parity=False), threads=1)


def written(
    transcriber: Transcriber, recordings: Sequence[BundledRecording], options: DecodingOptions
) -> tuple[Text, int, int]:
    """Tokens, and how many were proposed and accepted."""
    text: Text = []
    proposed = accepted = 0
    for recording in recordings:
        segments, info = transcriber.transcribe(recording.path, options)
        text += [segment.tokens for segment in segments]
        proposed += info.statistics.speculation.proposed
        accepted += info.statistics.speculation.accepted
    return text, proposed, accepted


@pytest.mark.parametrize("kind", BUNDLED)
def test_the_drafts_are_the_bundled_models(kind: Kind) -> None:
    info = read_draft(BUNDLED[kind], read_checkpoint("demo")).info
    assert (info.kind, info.layers) == (kind, 1)
    assert info.acceptance is not None
    assert info.acceptance > 0.8


@pytest.mark.parametrize("draft", ["heads", "shared:1"])
def test_most_guesses_are_right_and_the_text_is_the_same(
    draft: str, recordings: list[BundledRecording], tmp_path: Path
) -> None:
    few = [recording for recording in recordings if recording.path.stem.endswith(("0", "5"))]
    assert len(few) >= 6
    transcriber = artifact(tmp_path, "int8", draft)
    plain, none, _ = written(transcriber, few, DecodingOptions(speculate="off"))
    assert none == 0
    text, proposed, accepted = written(transcriber, few, DecodingOptions(speculate=2))
    assert text == plain
    assert accepted > 0.5 * proposed
    assert written(transcriber, few, DecodingOptions())[0] == plain


@pytest.mark.slow
@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-weight"])
@pytest.mark.parametrize("draft", ["heads", "shared:1"])
def test_all_recordings_have_the_same_text_in_every_precision(
    draft: str, precision: Precision, timestamps: bool, recordings: list[BundledRecording], tmp_path: Path
) -> None:
    transcriber = artifact(tmp_path, precision, draft)
    plain, _, _ = written(transcriber, recordings, DecodingOptions(speculate="off", timestamps=timestamps))
    for speculate in (1, 4, 16):
        options = DecodingOptions(speculate=speculate, timestamps=timestamps)
        assert written(transcriber, recordings, options)[0] == plain
