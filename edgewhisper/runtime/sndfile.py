"""Recordings that libsndfile reads: WAV, FLAC, OGG Vorbis and Opus, MP3, AIFF, AU, CAF and others."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from edgewhisper.errors import AudioError

from .recording import Recording, block_length

_UNKNOWN_LENGTH = 2**62  # libsndfile states 2**63 - 1 samples where a stream does not say


class _ForwardReader(soundfile.SoundFile):  # type: ignore[misc]
    """Read without seeking: soundfile seeks after each block, which a FLAC stream of unknown length does not survive."""

    def seekable(self) -> bool:
        return False


def open_sound_file(file: BinaryIO | int, name: str, resources: ExitStack) -> Recording:
    """Open a file object or a file descriptor, which stays open.

    Raises:
        soundfile.LibsndfileError: not a format that libsndfile knows, or nothing but a header.
    """
    sound = resources.enter_context(_ForwardReader(file, closefd=False))
    n_samples = sound.frames if sound.frames < _UNKNOWN_LENGTH else None
    return Recording(sound.samplerate, n_samples, _sound_blocks(sound, name))


def _sound_blocks(sound: soundfile.SoundFile, name: str) -> Iterator[NDArray[np.float32]]:
    n_samples, length = 0, block_length(sound.channels)
    while True:
        try:
            block = sound.read(length, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            damage = f"damaged or cut off after {n_samples / sound.samplerate:.1f} s or later"
            remedy = "copy it again, or convert what is left of it"
            raise AudioError(f"{name}: {damage} ({reason_of(error)}); {remedy}") from None
        if not len(block):
            return
        n_samples += len(block)
        yield block


def reason_of(error: soundfile.LibsndfileError) -> str:
    """libsndfile's message, to stand inside a sentence."""
    return str(error.error_string).removeprefix("Error : ").rstrip(".")
