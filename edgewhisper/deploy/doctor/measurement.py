"""What an artifact takes on this device: loaded, and made to transcribe a window of synthetic sound, in a forked child."""

import logging
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgewhisper.artifact import Manifest
from edgewhisper.runtime.contention import timed
from edgewhisper.runtime.memory import peak_memory

from .trial import Outcome, Reporter, run_forked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SECONDS = 10.0  # that measuring should take; one window is transcribed in any case
_TIMEOUT = 600.0  # an emulated processor takes minutes
_MOST_WINDOWS = 5
_STEPS = 40  # tokens that are timed
# Of a text: tokens in 30 s of speech, as the benchmark has it, and in a short sentence.
TOKENS_PER_SECOND = 100 / 30
SENTENCE_TOKENS = 15
_LOUDNESS = 0.1
_SYLLABLE = 0.125  # seconds of noise between two of silence


@dataclass(frozen=True)
class Measurement:
    """Times in seconds, memory in bytes.

    Attributes:
        window: seconds of sound that the model takes at once.
        load: from the folder to a loaded model.
        features: log-mel of a window.
        encode: a window.
        token: a decoder step of one token; guesses are not counted on.
        peak: the most memory of the process that transcribed.
        disturbed: share of the time that others took.
        threads: of one graph.
        low_memory: whether --low-memory was set.
        warnings: what the transcription said, such as that its draft cannot be used.
    """

    window: float
    load: float
    features: float
    encode: float
    token: float
    peak: int
    disturbed: float
    threads: int
    low_memory: bool
    warnings: tuple[str, ...] = ()


def measure(
    folder: Path, manifest: Manifest, threads: int, low_memory: bool, seconds: float = SECONDS
) -> tuple[Measurement | None, Outcome]:
    """Load and measure an artifact.

    Args:
        folder: the artifact.
        manifest: its manifest.
        threads: of one graph.
        low_memory: take the settings of --low-memory.
        seconds: that transcribing may take before the last window begins.

    Returns:
        What was measured, None where it came to no end; and what became of the child.

    Raises:
        EdgeWhisperError: no process can be made.
    """
    outcome = run_forked(
        lambda reporter: _measure(reporter, folder, manifest, threads, low_memory, seconds), _TIMEOUT
    )
    if outcome.ending != "done":
        return None, outcome
    features, encode, disturbed = min(outcome.values["window"], key=lambda window: window[2])
    measured = Measurement(
        window=_window_seconds(manifest),
        load=outcome.first("load"),
        features=features,
        encode=encode,
        token=outcome.first("token"),
        peak=outcome.first("peak"),
        disturbed=disturbed,
        threads=threads,
        low_memory=low_memory,
        warnings=tuple(outcome.values.get("warning", ())),
    )
    return measured, outcome


def _window_seconds(manifest: Manifest) -> float:
    audio = manifest.audio
    return audio.n_frames * audio.hop_length / audio.sample_rate


def _measure(
    reporter: Reporter, folder: Path, manifest: Manifest, threads: int, low_memory: bool, seconds: float
) -> None:
    """In the child."""
    reporter.begin("loading the graphs")
    started = time.perf_counter()
    from edgewhisper.runtime.options import DecodingOptions
    from edgewhisper.runtime.transcriber import Transcriber

    transcriber = Transcriber(folder, threads=threads, low_memory=low_memory)
    reporter.found("load", time.perf_counter() - started)
    logging.getLogger("edgewhisper").addHandler(_ToParent(reporter))
    reporter.begin("transcribing")
    sound = synthetic_sound(_window_seconds(manifest), manifest.audio.sample_rate)
    languages = manifest.tokens.languages
    language = "en" if "en" in languages or not languages else next(iter(languages))
    options = DecodingOptions(language=language, temperature=0.0)
    started = time.perf_counter()
    for _ in range(_MOST_WINDOWS):
        with timed() as timing:
            segments, info = transcriber.transcribe(sound, options)
            for _ in segments:
                pass
        found = info.statistics
        reporter.found("window", (found.feature_seconds, found.encoder_seconds, timing.disturbance))
        if time.perf_counter() - started > seconds:
            break
    reporter.found("peak", peak_memory())
    del transcriber, segments
    reporter.begin("decoding")
    reporter.found("token", _token_seconds(folder, manifest, threads, low_memory))


class _ToParent(logging.Handler):
    """Passes warnings on."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.found("warning", record.getMessage())


def _token_seconds(folder: Path, manifest: Manifest, threads: int, low_memory: bool) -> float:
    """A step of one token, over keys and values of noise: a trained model would end its text at once."""
    from edgewhisper.runtime.decoder import Decoder
    from edgewhisper.runtime.exactness import random_cross_kv, single_rows_are_exact
    from edgewhisper.runtime.session import SessionSettings
    from edgewhisper.runtime.state import DeviceState, state_folder

    settings = SessionSettings(threads=threads, low_memory=low_memory)
    decoder = Decoder(folder, manifest, settings)
    state = DeviceState(state_folder())
    decoder.repeat_single_rows = not single_rows_are_exact(decoder, manifest, settings, state)
    decoder.reset(random_cross_kv(manifest, random.Random(1)))
    decoder.run([manifest.tokens.start_of_transcript])
    times = []
    for token in range(min(_STEPS, decoder.max_length - 1)):
        started = time.perf_counter()
        decoder.run([token])
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 4]  # other programs make steps longer, never shorter


def synthetic_sound(seconds: float, rate: int) -> "NDArray[np.float32]":
    """Bursts of noise at the pace of syllables, the same every time; float32 [n]."""
    import numpy as np

    count = int(seconds * rate)
    source = random.Random(1)  # NumPy's would be loaded for this alone
    noise = np.frombuffer(source.randbytes(2 * count), np.int16).astype(np.float32) / 32768
    syllables = np.arange(count) // int(_SYLLABLE * rate) % 2
    return (_LOUDNESS * noise * syllables).astype(np.float32)
