"""The probe that decides whether single rows must be repeated."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewhisper.artifact import Manifest
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.exactness import single_rows_are_exact
from edgewhisper.runtime.session import SessionSettings
from edgewhisper.runtime.state import DeviceState
from tests.small_models import export, random_checkpoint

SETTINGS = SessionSettings(threads=1)


class OneRowDiffers(Decoder):
    """A device whose kernels round a single row differently."""

    def run(self, tokens: Sequence[int], logits_from: int = 0) -> NDArray[np.float32]:
        logits = super().run(tokens, logits_from)
        return np.nextafter(logits, np.float32(np.inf)) if len(tokens) == 1 else logits


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("graphs")
    return folder, export(random_checkpoint(), folder)


def test_the_decoder_graph_computes_single_rows_exactly_here(artifact: tuple[Path, Manifest]) -> None:
    folder, manifest = artifact
    decoder = Decoder(folder, manifest, SETTINGS)
    assert single_rows_are_exact(decoder, manifest, SETTINGS, DeviceState(None))


def test_a_difference_in_the_last_bit_is_noticed(artifact: tuple[Path, Manifest]) -> None:
    folder, manifest = artifact
    decoder = OneRowDiffers(folder, manifest, SETTINGS)
    assert not single_rows_are_exact(decoder, manifest, SETTINGS, DeviceState(None))


def test_the_answer_is_remembered_for_the_next_process(
    artifact: tuple[Path, Manifest], tmp_path: Path
) -> None:
    folder, manifest = artifact
    single_rows_are_exact(
        OneRowDiffers(folder, manifest, SETTINGS), manifest, SETTINGS, DeviceState(tmp_path)
    )
    exact = Decoder(folder, manifest, SETTINGS)
    assert not single_rows_are_exact(exact, manifest, SETTINGS, DeviceState(tmp_path))
    other_threads = SessionSettings(threads=2)
    assert single_rows_are_exact(exact, manifest, other_threads, DeviceState(tmp_path))
