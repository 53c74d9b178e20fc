"""What a caller asks of a listener."""

import math
from dataclasses import dataclass, fields

from edgewhisper.errors import UsageError


@dataclass(frozen=True)
class ListeningOptions:
    """How a stream of sound is divided into utterances; all values are seconds.

    Raises:
        UsageError: a value out of its range, or a longest utterance that has no room for the rest.
    """

    end_delay: float = 0.6  # of silence, after which an utterance has ended; after a pause half as long voice may be noticed late
    pre_roll: float = 0.5  # of sound before the first voice: a soft beginning is noticed late
    post_roll: float = 0.2  # of sound after the last voice; no more than `end_delay`
    least_voice: float = 0.1  # with less voice than this, a sound is no utterance
    max_length: float | None = None  # a longer utterance is divided; None is the model's window
    backlog: float = 60.0  # of utterances that may wait for the decoder; older ones are dropped
    partial_interval: float | None = (
        None  # between decodings of the utterance under way; None: only whole ones
    )

    def __post_init__(self) -> None:
        ranges = {
            "end_delay": (0.1, 10.0),
            "pre_roll": (0.0, 2.0),
            "post_roll": (0.0, 10.0),
            "least_voice": (0.0, 1.0),
            "max_length": (1.0, 600.0),
            "backlog": (0.0, 3600.0),
            "partial_interval": (0.1, 10.0),
        }
        for option in fields(self):
            value, (low, high) = getattr(self, option.name), ranges[option.name]
            if value is None and option.default is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise UsageError(
                    f"{option.name} {value!r} is not valid; give {low:g} to {high:g} seconds"
                )  # NaN too
        if self.max_length is not None and self.max_length < 2 * self.shortest:
            raise UsageError(
                f"max_length {self.max_length:g}: with these delays give {math.ceil(2 * self.shortest)} seconds or more"
            )

    @property
    def shortest(self) -> float:
        """Seconds that an utterance with hardly any voice takes until its end is noticed."""
        return self.pre_roll + self.least_voice + self.end_delay
