"""What every corpus consists of."""

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile

from edgewhisper.errors import AudioError
from edgewhisper.runtime.audio import AudioStream, open_audio

AUDIO_SUFFIXES = (
    ".aac", ".aif", ".aiff", ".amr", ".flac", ".m4a", ".mkv", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".wav", ".webm",
)  # fmt: skip


@dataclass(frozen=True)
class Utterance:
    """A recording, or a part of one, and what is said in it.

    Attributes:
        key: its name in the corpus, which no other one has.
        audio: a file, or a file's contents; None where the corpus names one that is not there.
        text: the transcript, empty where nobody speaks; None where there is none.
        language: as the corpus states it.
        part: the beginning and the end in `audio`, in seconds; None: all of it.
        problem: why it cannot be used as it is, in a few words; None where it can.
    """

    key: str
    audio: Path | bytes | None
    text: str | None = None
    language: str | None = None
    part: tuple[float, float] | None = None
    problem: str | None = None

    def open(self, sample_rate: int) -> AudioStream:
        """Its samples, mono, at this rate.

        Raises:
            AudioError: there are none, or they cannot be read.
        """
        if self.audio is None:
            raise AudioError(f"{self.key}: {self.problem or 'no audio'}")
        if self.part is not None:
            return _open_part(self.audio, self.part, self.key, sample_rate)
        if isinstance(self.audio, bytes):
            file = io.BytesIO(self.audio)
            file.name = self.key
            return open_audio(file, target_rate=sample_rate)
        return open_audio(self.audio, target_rate=sample_rate)

    @property
    def stamp(self) -> str:
        """Another one when the recording is replaced, as far as that can be seen without reading it."""
        seen: tuple[object, ...] = (self.key, self.part)
        if isinstance(self.audio, bytes):
            seen = (*seen, hashlib.sha256(self.audio).hexdigest())
        elif self.audio is not None:
            try:
                status = self.audio.stat()
                seen = (*seen, status.st_size, status.st_mtime_ns)
            except OSError:
                seen = (*seen, None)
        return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]


def _open_part(audio: Path | bytes, part: tuple[float, float], name: str, sample_rate: int) -> AudioStream:
    """From `part[0]` to `part[1]` seconds; libsndfile seeks there, so long recordings are not read for short parts."""
    try:
        with soundfile.SoundFile(audio if isinstance(audio, Path) else io.BytesIO(audio)) as file:
            rate, first = file.samplerate, round(part[0] * file.samplerate)
            last = min(round(part[1] * rate), file.frames)
            if not 0 <= first < last:
                raise AudioError(f"{name}: from {part[0]:g} to {part[1]:g} s there is no sound in it")
            file.seek(first)
            samples = file.read(last - first, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{name}: cannot be read ({error})") from None
    return open_audio(samples, sample_rate=rate, target_rate=sample_rate)


@dataclass(frozen=True)
class Corpus:
    """A corpus.

    Attributes:
        name: where it comes from.
        utterances: goes through it, in the same order every time; nothing is held.
        size: how many there are; None where nobody knows before the end.
    """

    name: str
    utterances: Callable[[], Iterator[Utterance]]
    size: int | None = None

    @property
    def place(self) -> str:
        """Its name, whatever folder the command is called from."""
        return str(Path(self.name).resolve()) if Path(self.name).exists() else self.name

    def __iter__(self) -> Iterator[Utterance]:
        return self.utterances()
