"""What the service has done so far, as one line."""

import time
from dataclasses import dataclass, field

from edgewhisper.runtime.memory import resident_memory


@dataclass
class Metrics:
    """Counters since the start."""

    started: float = field(default_factory=time.monotonic)
    clients: int = 0  # connected now
    running: int = 0  # requests at the model, 0 or 1
    waiting: int = 0
    transcribed: int = 0
    refused: int = 0  # busy, too long, malformed and so on
    failed: int = 0  # errors of the service itself
    audio_seconds: float = 0.0  # of what was transcribed
    busy_seconds: float = 0.0
    slowest_seconds: float = 0.0  # of one request, without waiting

    def note(self, audio_seconds: float, seconds: float) -> None:
        """Count a transcription."""
        self.transcribed += 1
        self.audio_seconds += audio_seconds
        self.busy_seconds += seconds
        self.slowest_seconds = max(self.slowest_seconds, seconds)

    def line(self, is_loaded: bool) -> str:
        """All of it."""
        rtf = f"{self.busy_seconds / self.audio_seconds:.3f}" if self.audio_seconds else "-"
        return (
            f"up={time.monotonic() - self.started:.0f}s model={'loaded' if is_loaded else 'not-loaded'} "
            f"memory={resident_memory() / 1e6:.0f}MB clients={self.clients} running={self.running} "
            f"waiting={self.waiting} transcribed={self.transcribed} refused={self.refused} failed={self.failed} "
            f"audio={self.audio_seconds:.1f}s busy={self.busy_seconds:.1f}s rtf={rtf} slowest={self.slowest_seconds:.2f}s"
        )
