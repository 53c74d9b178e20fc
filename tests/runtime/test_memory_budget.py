"""Memory limits: what they choose, and what they refuse."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgewhisper.artifact import Manifest, ModelDimensions, load_manifest
from edgewhisper.errors import UsageError
from edgewhisper.runtime.memory_budget import needs_low_memory, transcription_memory
from tests.conftest import Command

TINY = ModelDimensions(80, 384, 4, 6, 1536, 4, 6, 1536, 51864, 1500, 448)
BASE = ModelDimensions(80, 512, 6, 8, 2048, 6, 8, 2048, 51864, 1500, 448)
PRECISIONS = [("fp32", "fp32"), ("int8-dynamic", "int8"), ("int8-weight", "int8-weight"), ("int4", "int4")]


@pytest.fixture(scope="module")
def manifest(demo_artifact: Path) -> Manifest:
    return load_manifest(demo_artifact)


@pytest.mark.parametrize(("encoder", "decoder"), PRECISIONS)
def test_larger_models_and_the_usual_settings_take_more(encoder: str, decoder: str) -> None:
    tiny, base = (transcription_memory(model, encoder, decoder, False) for model in (TINY, BASE))
    assert tiny < base
    assert transcription_memory(TINY, encoder, decoder, True) <= tiny


def test_int8_takes_less_than_fp32() -> None:
    int8, fp32 = (transcription_memory(BASE, p, p, False) for p in ("int8", "fp32"))
    assert int8 < 0.6 * fp32


def test_a_limit_takes_the_usual_settings_where_they_fit_and_else_low_memory(manifest: Manifest) -> None:
    manifest = replace(manifest, dimensions=TINY)
    usual, least = (transcription_memory(TINY, "fp32", "fp32", low) for low in (False, True))
    assert least < usual
    assert not needs_low_memory(manifest, usual)
    assert needs_low_memory(manifest, usual - 1)
    assert needs_low_memory(manifest, least)
    with pytest.raises(
        UsageError, match=r"--max-ram .* MB: this artifact needs about .* smaller --precision"
    ):
        needs_low_memory(manifest, least - 1)


def test_a_limit_below_the_floor_is_refused_in_one_line(
    command: Command, demo_artifact: Path, speech: Path
) -> None:
    done = command("transcribe", speech, "-a", demo_artifact, "--max-ram", "40M")
    done.assert_refused(2, "--max-ram", "40 MB", "needs about")


@pytest.mark.parametrize(
    "options", [("--max-ram", "2G"), ("--low-memory",), ("--max-ram", "2G", "--low-memory")]
)
def test_the_text_does_not_depend_on_memory_settings(
    command: Command, demo_artifact: Path, speech: Path, options: tuple[str, ...]
) -> None:
    usual = command("transcribe", speech, "-a", demo_artifact)
    assert usual.out.strip()
    assert command("transcribe", speech, "-a", demo_artifact, *options).out == usual.out
