"""The model of the service: loaded when it is needed, freed when it is not."""

import gc
import logging
import time
from collections.abc import Callable

from edgewhisper.runtime.memory import resident_memory, return_freed_memory
from edgewhisper.runtime.transcriber import Transcriber

_LOG = logging.getLogger("edgewhisper")


class Model:
    """A transcriber that comes and goes. All but `is_loaded` belongs to the worker's thread."""

    def __init__(self, load: Callable[[], Transcriber]) -> None:
        """`load` makes the transcriber."""
        self._load = load
        self._transcriber: Transcriber | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether the next request finds it loaded."""
        return self._transcriber is not None

    def transcriber(self) -> Transcriber:
        """The transcriber, loaded if need be; raises what `Transcriber` raises."""
        if self._transcriber is None:
            started = time.perf_counter()
            self._transcriber = self._load()
            return_freed_memory()  # of loading: 10 MB and more
            seconds, megabytes = time.perf_counter() - started, resident_memory() / 1e6
            _LOG.info("model loaded in %.2f s; %.0f MB resident", seconds, megabytes)
        return self._transcriber

    def free(self) -> None:
        """Give its memory back to the system."""
        if self._transcriber is None:
            return
        self._transcriber = None
        gc.collect()  # sessions and what holds them refer to each other
        return_freed_memory()
        _LOG.info("model freed; %.0f MB resident", resident_memory() / 1e6)
