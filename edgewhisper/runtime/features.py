"""Log-mel features, computed while the audio streams past.

The numbers are those of transformers' WhisperFeatureExtractor and openai-whisper's log_mel_spectrogram: frames of 25 ms
every 10 ms, centred on their sample, the signal reflected at its two ends; the power spectrum in mel bands; log10;
clamped 8 below the maximum of the whole recording; (x + 4) / 4. The last frame is dropped, so n samples
give n // hop_length frames.

- A recording that fits one window is padded with zero samples to the window, as the feature extractor does.
- Of a longer one, windows are slices of the features of the whole file, and beyond the end lie features of 0.0, as in
  transformers' long-form `generate`. The maximum of the whole file is found in a first pass over the audio. A pipe has
  no second pass: there the maximum of what was read so far stands in, and results can differ from those of the file.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import AudioSettings

from .audio import AudioStream
from .mel import mel_filter_bank

_BLOCK_FRAMES = 256  # computed at once: the temporaries of a block (about 1 MB) stay in the processor's cache
_POWER_FLOOR = 1e-10
_DYNAMIC_RANGE = 8.0  # log10 units kept below the maximum


class LogMel:
    """The short-time Fourier transform and mel filters of one model."""

    def __init__(self, settings: AudioSettings) -> None:
        self._n_fft = settings.n_fft
        self._hop = settings.hop_length
        self._window = np.hanning(settings.n_fft + 1)[:-1].astype(np.float32)  # periodic
        # A filter covers few bins. Summing only those is as fast as a matrix product and leaves BLAS alone, whose threads
        # would spin beside those of ONNX Runtime.
        filters = mel_filter_bank(settings.n_mels, settings.n_fft, settings.sample_rate)
        covered = filters > 0
        covered[:, 0] |= ~covered.any(axis=1)  # each filter needs a bin, be its weight 0
        bands, self._bins = np.nonzero(covered)
        self._weights = filters[bands, self._bins]
        self._band_starts = np.searchsorted(bands, np.arange(settings.n_mels))

    def mel_power(self, samples: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Mel power of a whole recording, [n_mels, frames] a block.

        The blocks that come out lie on a fixed grid, so their bits do not depend on how the samples were cut.

        Args:
            samples: the recording in blocks [samples], more than n_fft / 2 samples in all.
        """
        step = _BLOCK_FRAMES * self._hop
        pending: list[NDArray[np.float32]] = []
        n_pending = 0
        for piece in _reflected(samples, self._n_fft // 2):
            pending.append(piece)
            n_pending += len(piece)
            if n_pending < step + self._n_fft:
                continue
            buffer = np.concatenate(pending)
            while len(buffer) >= step + self._n_fft:  # one frame more, which may be dropped
                yield self._block_power(buffer, _BLOCK_FRAMES)
                buffer = buffer[step:]
            pending, n_pending = [buffer], len(buffer)
        buffer = np.concatenate(pending)
        n_frames = (len(buffer) - self._n_fft) // self._hop
        if n_frames > 0:
            yield self._block_power(buffer, n_frames)

    def _block_power(self, buffer: NDArray[np.float32], n_frames: int) -> NDArray[np.float32]:
        samples = buffer[: (n_frames - 1) * self._hop + self._n_fft]
        if not samples.any():  # digital silence, such as the padding of a short recording
            return np.zeros((len(self._band_starts), n_frames), np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(samples, self._n_fft)[:: self._hop]
        spectrum = np.fft.rfft(frames * self._window)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        weighted = power[:, self._bins] * self._weights
        return np.add.reduceat(weighted, self._band_starts, axis=1).T


def _reflected(samples: Iterable[NDArray[np.float32]], n_edge: int) -> Iterator[NDArray[np.float32]]:
    """The samples with `n_edge` mirrored ones before and after, the outermost sample not repeated."""
    head: list[NDArray[np.float32]] = []
    tail = np.empty(0, np.float32)
    for piece in samples:
        n_before = len(tail)
        tail = np.concatenate((tail, piece[-n_edge - 1 :]))[-n_edge - 1 :]
        if n_before > n_edge:
            yield piece
            continue
        head.append(piece)
        if len(tail) > n_edge:
            start = np.concatenate(head)
            yield start[n_edge:0:-1]
            yield start
    yield tail[-2::-1]


def log_power(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """log10 of mel power, floored."""
    return np.log10(np.maximum(power, np.float32(_POWER_FLOOR)))


class LogMelStream:
    """Windows of one recording's log-mel features; frames before the latest window are forgotten.

    Opening it reads one window of audio, and, of a longer recording that can be reopened, the whole of it once.

    Attributes:
        is_single_window: the recording has no more frames than one window.
        total_frames: frames of the recording; None on a pipe until its end was read. A recording of a
            single window counts its last, incomplete frame too.

    Raises:
        AudioError: from the audio.
    """

    def __init__(self, audio: AudioStream, settings: AudioSettings) -> None:
        if audio.sample_rate != settings.sample_rate:
            raise ValueError(f"audio at {audio.sample_rate} Hz for a model of {settings.sample_rate} Hz")
        self._settings = settings
        self._n_samples = 0
        self._maximum = -np.inf
        # First frame and log-mel [n_mels, frames].
        self._blocks: deque[tuple[int, NDArray[np.float32]]] = deque()
        self._start = 0  # frames before it are forgotten
        self._end = 0  # frames computed so far
        self.total_frames: int | None = None
        log_mel = LogMel(settings)
        hop = settings.hop_length
        window_samples = settings.n_frames * hop
        counted = self._count(audio)
        head: list[NDArray[np.float32]] = []
        for block in counted:
            head.append(block)
            if self._n_samples >= window_samples + hop:
                break
        self.is_single_window = self._n_samples < window_samples + hop
        if self.is_single_window:
            padding = np.zeros(max(0, window_samples - self._n_samples), np.float32)
            self._power = log_mel.mel_power([*head, padding])
            self.total_frames = min(settings.n_frames, -(-self._n_samples // hop))
            self._read_until(settings.n_frames)
            self._power = iter(())  # frees the samples
        elif audio.seekable_twice:
            loudest = max(power.max() for power in log_mel.mel_power(chain(head, counted)))
            self._maximum = float(log_power(np.array([loudest]))[0])
            self.total_frames = self._n_samples // hop
            audio.reopen()
            self._power = log_mel.mel_power(audio)
        else:
            self._power = log_mel.mel_power(chain(head, counted))

    def _count(self, audio: AudioStream) -> Iterator[NDArray[np.float32]]:
        for block in audio:
            self._n_samples += len(block)
            yield block

    @property
    def duration(self) -> float:
        """Seconds of audio read so far; of a recording that can be reopened, all of it."""
        return self._n_samples / self._settings.sample_rate

    def window(self, start_frame: int, n_frames: int) -> tuple[NDArray[np.float32], int]:
        """Frames `start_frame` to `start_frame + n_frames`: the log-mel [n_mels, n_frames] and how many of them are real.

        Raises:
            ValueError: `start_frame` lies before that of an earlier call.
            AudioError: from the audio.
        """
        if start_frame < self._start:
            raise ValueError(f"frame {start_frame} was forgotten; windows move forward from {self._start}")
        self._start = start_frame
        self._forget()
        self._read_until(start_frame + n_frames)
        log_mel = np.zeros((self._settings.n_mels, n_frames), np.float32)
        for first, block in self._blocks:
            at, skipped = max(0, first - start_frame), max(0, start_frame - first)
            part = block[:, skipped : skipped + max(0, n_frames - at)]
            log_mel[:, at : at + part.shape[1]] = part
        computed = log_mel[:, : max(0, self._end - start_frame)]
        np.maximum(computed, np.float32(self._maximum - _DYNAMIC_RANGE), out=computed)
        computed += 4.0
        computed /= 4.0
        last = self._end if self.total_frames is None else self.total_frames
        return log_mel, min(max(0, last - start_frame), n_frames)

    def ended(self, frame: int) -> bool:
        """Whether no real frame lies at or after `frame`; on a pipe this reads up to that frame.

        Raises:
            AudioError: from the audio.
        """
        if self.total_frames is None:
            self._read_until(frame + 1)
        return self.total_frames is not None and frame >= self.total_frames

    def _read_until(self, frame: int) -> None:
        while self._end < frame:
            power = next(self._power, None)
            if power is None:
                if self.total_frames is None:
                    self.total_frames = self._end
                return
            block = log_power(power)
            self._maximum = max(self._maximum, float(block.max()))
            self._blocks.append((self._end, block))
            self._end += block.shape[1]
            self._forget()

    def _forget(self) -> None:
        while self._blocks and self._blocks[0][0] + self._blocks[0][1].shape[1] <= self._start:
            self._blocks.popleft()
