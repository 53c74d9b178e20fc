"""What a run of transcriptions took."""

import math
from dataclasses import dataclass

from edgewhisper.runtime.memory import peak_memory
from edgewhisper.runtime.options import Segment, SpeculationStatistics, Statistics, TranscriptionInfo
from edgewhisper.runtime.writers import subtitle_time

SHORTEST_AUDIO = (
    0.1  # seconds; a window costs the same however little is in it, so the factor of less says nothing
)


@dataclass
class Totals:
    """Sums over the recordings of one run."""

    audio: float = 0.0  # seconds
    elapsed: float = 0.0  # seconds, loading the artifact not included
    first_token: float | None = None  # seconds from the start of the first recording in which there was one

    def add(self, info: TranscriptionInfo, elapsed: float) -> None:
        """Count one recording that is done."""
        if self.first_token is None:
            self.first_token = info.statistics.first_token_seconds
        self.audio += info.duration or info.processed
        self.elapsed += elapsed

    def closing_line(self) -> str:
        """Audio length, real-time factor, time to the first token and peak memory."""
        parts = [f"{self.audio:.1f} s of audio in {self.elapsed:.2f} s"]
        if self.audio >= SHORTEST_AUDIO:
            parts.append(f"real-time factor {self.elapsed / self.audio:.3f}")
        if self.first_token is not None:
            parts.append(f"first token after {self.first_token:.2f} s")
        return ", ".join([*parts, f"peak memory {peak_memory() / 1e6:.0f} MB"])


def describe_segment(segment: Segment) -> str:
    """A segment's place in time and how sure the model was."""
    start, end = (subtitle_time(time, separator=".", hours=False) for time in (segment.start, segment.end))
    return (
        f"[{start} --> {end}] average log-probability {segment.avg_logprob:.2f}, compression ratio "
        f"{segment.compression_ratio:.2f}, no speech {segment.no_speech_prob:.2f}, temperature {segment.temperature:g}"
    )


def describe_info(info: TranscriptionInfo) -> str:
    """The language, and where the time went."""
    found = info.statistics
    return (
        f"language {info.language} ({info.language_probability:.2f}); {found.windows} windows, {found.silent_windows} silent{_short(found)}; "
        f"{found.tokens} tokens, {found.fallbacks} fallbacks; features {found.feature_seconds:.2f} s, "
        f"encoder {found.encoder_seconds:.2f} s, decoder {found.decoder_seconds:.2f} s{_speculation(found.speculation)}"
    )


def _short(found: Statistics) -> str:
    if not found.short_windows:
        return ""
    return f", {found.short_windows} short, {found.full_retries} of them written anew"


def _speculation(found: SpeculationStatistics) -> str:
    if not found.verifications:
        return ""
    gain = "" if math.isnan(found.gain) else f", {found.gain:.2f} times as fast as single steps"
    return (
        f"; {found.accepted} of {found.proposed} guessed tokens right, {found.tokens_per_verification:.1f} tokens for each of "
        f"{found.verifications} verifications, {found.draft_seconds:.2f} s guessing and {found.main_seconds:.2f} s verifying{gain}"
    )
