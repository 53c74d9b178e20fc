"""The probe that decides whether single rows must be repeated."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewhisper.artifact import Manifest
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.exactness import single_rows_are_exact, steps_are_exact
from edgewhisper.runtime.session import SessionSettings
from edgewhisper.runtime.state import DeviceState
from tests.small_models import export, random_checkpoint

SETTINGS = SessionSettings(threads=1)


class OneRowDiffers(Decoder):
    """A device whose kernels round a single row differently."""

    def run(self, tokens: Sequence[int], logits_from: int = 0) -> NDArray[np.float32]:
        logits = super().run(tokens, logits_from)
        return np.nextafter(logits, np.float32(np.inf)) if len(tokens) == 1 else logits


class FiveRowsDiffer(Decoder):
    """A device that takes another kernel for five rows and more."""

    def run(self, tokens: Sequence[int], logits_from: int = 0) -> NDArray[np.float32]:
        logits = super().run(tokens, logits_from)
        return np.nextafter(logits, np.float32(np.inf)) if len(tokens) == 5 else logits


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


@pytest.mark.parametrize(("kind", "exact"), [(Decoder, True), (FiveRowsDiffer, False)])
def test_devices_other_than_processors_are_probed_with_every_number_of_rows(
    artifact: tuple[Path, Manifest], kind: type[Decoder], exact: bool, tmp_path: Path
) -> None:
    folder, manifest = artifact
    decoder = kind(folder, manifest, SETTINGS)
    # The provider's name is what counts here; the graph runs on the processor.
    device = SessionSettings(provider="openvino", threads=1)
    assert steps_are_exact(decoder, manifest, device, DeviceState(tmp_path)) is exact
    again = Decoder(folder, manifest, SETTINGS)
    assert steps_are_exact(again, manifest, device, DeviceState(tmp_path)) is exact


@pytest.mark.parametrize(("precision", "exact"), [("int8", True), ("int8-dynamic", False)])
def test_processors_are_exact_but_for_dynamic_ranges(
    artifact: tuple[Path, Manifest], precision: str, exact: bool
) -> None:
    folder, manifest = artifact
    graphs = {**manifest.graphs, "decoder": replace(manifest.graph("decoder"), precision=precision)}
    decoder = Decoder(folder, manifest, SETTINGS)
    found = steps_are_exact(decoder, replace(manifest, graphs=graphs), SETTINGS, DeviceState(None))
    assert found is exact
