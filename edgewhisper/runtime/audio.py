"""Any recording as a stream of mono samples at the model's rate.

Channels are averaged. Samples beyond full scale (float files can hold them) are kept as they are, as transformers and
openai-whisper do; NaN, infinite and absurdly large samples are errors that name the position.
"""

import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import BinaryIO

import numpy as np
import soxr
from numpy.typing import NDArray

from edgewhisper.errors import AudioError

from .pcm import RawFormat, open_pcm
from .recording import Recording, open_array
from .wav import check_wav_length, open_wav_stream, read_wav_header

__all__ = ["AudioStream", "RawFormat", "open_audio"]

SAMPLE_RATE = 16_000  # Hz, of every Whisper model
_MIN_RATE, _MAX_RATE = 1_000, 1_000_000  # Hz; beyond lie damaged headers, and resampling eats memory
_MAX_SAMPLE = 1e15  # the power spectrum of larger samples overflows float32
_RAW_SUFFIXES = (".raw", ".pcm")

# Opens a recording from its start; the files and processes behind it are closed with the stack.
Opener = Callable[[ExitStack], Recording]


class AudioStream:
    """Blocks of mono float32 samples at one rate, any number in a block; a context manager that frees files and processes.

    Args:
        name: how messages call the recording.
        open_recording: called at once, and again by `reopen`.
        sample_rate: of the samples that come out, in Hz.
        seekable_twice: whether the recording can be gone through a second time.
        resources: closed together with the stream.

    Raises:
        AudioError: the recording cannot be opened.
    """

    def __init__(
        self,
        name: str,
        open_recording: Opener,
        *,
        sample_rate: int = SAMPLE_RATE,
        seekable_twice: bool = True,
        resources: ExitStack | None = None,
    ) -> None:
        self.name = name
        self.sample_rate = sample_rate
        self.seekable_twice = seekable_twice
        self._open_recording = open_recording
        self._resources = resources or ExitStack()
        self._opened = ExitStack()
        self._start()

    def _start(self) -> None:
        try:
            self._recording = self._open_recording(self._opened)
            check_rate(self._recording.sample_rate, self.name)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise _unreadable(self.name, error) from None
            raise
        self._blocks = self._mono_blocks(self._recording, self._opened)

    @property
    def duration(self) -> float | None:
        """Seconds, as the recording states them; None for a pipe and for what ffmpeg decodes."""
        n_samples = self._recording.n_samples if self.seekable_twice else None
        return None if n_samples is None else n_samples / self._recording.sample_rate

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Go on where the last iteration stopped.

        Raises:
            AudioError: a damaged recording, samples that are not numbers, or no samples at all.
        """
        return self._blocks

    def reopen(self) -> None:
        """Go back to the start.

        Raises:
            AudioError: the recording can be read only once, or is no longer there.
        """
        if not self.seekable_twice:
            raise AudioError(f"{self.name}: a pipe can be read only once")
        self._opened.close()
        self._opened = ExitStack()
        self._start()

    def close(self) -> None:
        """Free files and processes."""
        self._opened.close()
        self._resources.close()

    def __enter__(self) -> "AudioStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _mono_blocks(self, recording: Recording, opened: ExitStack) -> Iterator[NDArray[np.float32]]:
        rate = recording.sample_rate
        resample = resampler(rate, self.sample_rate)
        n_read = n_given = 0
        try:
            for block in recording.blocks:
                check_samples(block, self.name, n_read, rate)
                n_read += len(block)
                samples = resample(block[:, 0] if block.shape[1] == 1 else block.mean(axis=1), False)
                n_given += len(samples)
                yield samples
            samples = resample(np.empty(0, np.float32), True)
            if n_given + len(samples) == 0:
                raise AudioError(f"{self.name}: holds no samples; record or copy it again")
            yield samples
        except OSError as error:
            raise _unreadable(self.name, error) from None
        finally:
            opened.close()


def open_audio(
    source: str | os.PathLike[str] | BinaryIO | NDArray[np.generic],
    *,
    sample_rate: int = SAMPLE_RATE,
    raw: RawFormat | None = None,
    target_rate: int = SAMPLE_RATE,
) -> AudioStream:
    """Open a recording.

    Files are read by libsndfile where it knows the format, else by ffmpeg. A pipe of uncompressed WAV or of `raw` samples
    is streamed and can be read once; any other format on a pipe is first copied to a temporary file. A seekable file
    object is read from its start. File objects are not closed.

    Args:
        source: a path, a binary file object (also a pipe), or an array [samples] or [samples, channels] of float
            (1.0 is full scale), int16 or int32 samples.
        sample_rate: of an array, in Hz.
        raw: how to read a file or pipe of samples without a header.
        target_rate: of the samples that come out, in Hz.

    Raises:
        AudioError: missing, empty, not audio, cut off, or damaged from the start.
    """
    if isinstance(source, np.ndarray):
        array = source
        return AudioStream("array", lambda _: open_array(array, sample_rate), sample_rate=target_rate)
    name = os.fsdecode(source) if isinstance(source, str | os.PathLike) else _name_of(source)
    with ExitStack() as resources:  # handed on to the stream, closed here only if that fails
        try:
            if isinstance(source, str | os.PathLike):
                opener, seekable_twice = _path_opener(name, raw, resources)
            else:
                opener, seekable_twice = _file_object_opener(source, name, raw, resources)
        except OSError as error:
            raise _unreadable(name, error) from None
        owned = resources.pop_all()
    return AudioStream(name, opener, sample_rate=target_rate, seekable_twice=seekable_twice, resources=owned)


def _unreadable(name: str, error: OSError) -> AudioError:
    return AudioError(f"{name}: cannot be read ({error.strerror or error})")


def _name_of(file: object) -> str:
    """How messages call what should be a binary file object; raise AudioError if it is none, or closed."""
    if isinstance(file, io.TextIOBase) or not (hasattr(file, "read") and hasattr(file, "seekable")):
        kind = type(file).__name__
        raise AudioError(f"audio of type {kind}: give a path, a binary file object or a NumPy array")
    name = getattr(file, "name", None)
    name = name if isinstance(name, str) else "audio stream"
    if getattr(file, "closed", False):
        raise AudioError(f"{name}: is closed; open it again")
    return name


def _open_binary(path: str, name: str) -> BinaryIO:
    try:
        return open(path, "rb", buffering=0)
    except FileNotFoundError:
        raise AudioError(f"{name or repr(name)}: no such file") from None
    except IsADirectoryError:
        raise AudioError(f"{name}: is a folder; give the recordings in it") from None
    except OSError as error:
        raise _unreadable(name, error) from None
    except ValueError:
        raise AudioError(f"{name!r}: not a file name") from None


def _path_opener(path: str, raw: RawFormat | None, resources: ExitStack) -> tuple[Opener, bool]:
    """How to open a file or a named pipe, and whether it can be opened again."""
    file = resources.enter_context(_open_binary(path, path))
    if not file.seekable():
        return _pipe_opener(file, path, raw, resources)
    _check_format_is_known(path, raw)
    resources.close()
    return partial(_open_path, path, path, raw), True


def _file_object_opener(
    file: BinaryIO, name: str, raw: RawFormat | None, resources: ExitStack
) -> tuple[Opener, bool]:
    """How to read a file object: as it is, or, for ffmpeg, from a copy with a path; and whether more than once."""
    if not file.seekable():
        return _pipe_opener(file, name, raw, resources)
    _check_format_is_known(name, raw)
    with ExitStack() as trial:
        try:
            _open_seekable(file, name, raw, trial)
        except _NotBuiltIn:
            file.seek(0)
            return partial(_open_path, _copy_to_disk(file, b"", name, resources), name, None), True
    return partial(_open_seekable, file, name, raw), True


def _check_format_is_known(name: str, raw: RawFormat | None) -> None:
    if raw is None and name.lower().endswith(_RAW_SUFFIXES):
        raise AudioError(
            f"{name}: raw PCM does not state its format; give it, e.g. --raw s16le:16000:1 (16-bit, 16 kHz, mono)"
        )


def _pipe_opener(
    file: BinaryIO, name: str, raw: RawFormat | None, resources: ExitStack
) -> tuple[Opener, bool]:
    """How to read what cannot seek, and whether more than once."""
    _check_format_is_known(name, raw)
    if raw is not None:
        return lambda _: open_pcm(file, raw, None), False
    header, taken = read_wav_header(file, name)
    if not taken:
        raise AudioError(f"{name}: empty (0 bytes); record or copy it again")
    if header is not None:
        return lambda _: open_wav_stream(file, header, name), False
    return partial(_open_path, _copy_to_disk(file, taken, name, resources), name, None), True


def _open_path(path: str, name: str, raw: RawFormat | None, resources: ExitStack) -> Recording:
    """Open a file; messages call it `name`."""
    file = resources.enter_context(_open_binary(path, name))
    try:
        return _open_seekable(file, name, raw, resources)
    except _NotBuiltIn as error:
        from .ffmpeg import open_with_ffmpeg  # subprocess and tempfile: 10 ms, paid only where they are used

        return open_with_ffmpeg(path, name, str(error), resources)


def _copy_to_disk(file: BinaryIO, taken: bytes, name: str, resources: ExitStack) -> str:
    """Write what was `taken` from a file and the rest of it to a temporary file, and return its path."""
    import tempfile

    suffix = os.path.splitext(name)[1]  # a hint for ffmpeg
    copy = tempfile.NamedTemporaryFile(prefix="edgewhisper-", suffix=suffix)  # noqa: SIM115
    resources.enter_context(copy)
    copy.write(taken)
    shutil.copyfileobj(file, copy)
    copy.flush()
    return copy.name


class _NotBuiltIn(Exception):
    """libsndfile cannot read it; the message says why."""


def _open_seekable(file: BinaryIO, name: str, raw: RawFormat | None, resources: ExitStack) -> Recording:
    """Open a file from its start with what is built in.

    Raises:
        AudioError: it is empty, or a WAV file that was cut off.
        _NotBuiltIn: a format for ffmpeg, or not audio.
    """
    import soundfile  # 15 ms, paid only where a file is read

    from .sndfile import open_sound_file, reason_of

    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size == 0:
        raise AudioError(f"{name}: empty (0 bytes); record or copy it again")
    if raw is not None:
        return open_pcm(file, raw, size)
    check_wav_length(file, name, size)
    file.seek(0)
    try:
        recording = open_sound_file(file.fileno() if isinstance(file, io.FileIO) else file, name, resources)
    except soundfile.LibsndfileError as error:
        raise _NotBuiltIn(reason_of(error)) from None
    return _unfinished_wav(file, name, size) or recording if recording.n_samples == 0 else recording


def _unfinished_wav(file: BinaryIO, name: str, size: int) -> Recording | None:
    """The samples of a WAV file whose header states length 0, which a recorder leaves behind that was killed."""
    file.seek(0)
    header, taken = read_wav_header(file, name)
    if header is None or header.data_bytes is not None:
        return None
    return open_pcm(file, header.format, size - len(taken))


def resampler(rate: int, target_rate: int) -> Callable[[NDArray[np.float32], bool], NDArray[np.float32]]:
    """A function of the next samples, and whether they are the last, that gives samples at the target rate."""
    if rate == target_rate:
        return lambda samples, last: samples
    stream = soxr.ResampleStream(rate, target_rate, 1, dtype="float32", quality="HQ")
    return lambda samples, last: stream.resample_chunk(samples, last=last)


def check_rate(rate: int, name: str) -> None:
    """Raise AudioError for a rate in Hz that no recording has."""
    if not _MIN_RATE <= rate <= _MAX_RATE:
        raise AudioError(f"{name}: a sample rate of {rate} Hz; give {_MIN_RATE} to {_MAX_RATE} Hz")


def check_samples(block: NDArray[np.float32], name: str, n_before: int, sample_rate: int) -> None:
    """Raise AudioError if a sample of [samples, channels] is NaN, infinite or too large; `n_before` samples came earlier."""
    if np.abs(block).max(initial=0) <= _MAX_SAMPLE:
        return
    row, channel = np.argwhere(~(np.abs(block) <= _MAX_SAMPLE))[0]
    sample = f"the sample at {(n_before + int(row)) / sample_rate:.3f} s is {block[row, channel]:g}"
    raise AudioError(f"{name}: {sample}, not a sound; record or convert it again")
