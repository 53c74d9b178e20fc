"""The artifact's draft, loaded when a transcription first wants it."""

import logging
from pathlib import Path

import numpy as np

from edgewhisper.artifact import Manifest
from edgewhisper.errors import ArtifactError

from .decoder import Decoder
from .exactness import steps_are_exact
from .session import SessionSettings, draft_settings
from .speculation.costs import step_costs
from .speculation.speculation import Draft
from .state import DeviceState

DRAFT = "draft"
_LOG = logging.getLogger("edgewhisper")


class DraftLoader:
    """Gives the draft of an artifact; None where it has none, or one that cannot be used.

    Text comes without a draft too, only more slowly, so one that fails is warned of, once.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        settings: SessionSettings,
        decoder: Decoder,
        state: DeviceState,
    ) -> None:
        """Load nothing yet; the decoder is what the draft's costs are compared with."""
        self._from = (folder, manifest, settings, decoder, state)
        self._is_loaded = DRAFT not in manifest.graphs
        self._draft: Draft | None = None

    def __call__(self) -> Draft | None:
        """The draft; the decoder's sequence is lost the first time."""
        if not self._is_loaded:
            self._is_loaded = True
            try:
                self._draft = _load(*self._from)
            except Exception as error:  # ONNX Runtime's have no common base
                _LOG.warning("%s; decoding goes on without a draft", str(error).splitlines()[0])
        return self._draft


def _load(
    folder: Path, manifest: Manifest, settings: SessionSettings, decoder: Decoder, state: DeviceState
) -> Draft:
    graph = manifest.graph(DRAFT)
    draft = Decoder(folder, manifest, draft_settings(settings), DRAFT)
    tokens = np.array(graph.head_tokens or (), np.int64)
    known = (tokens >= 0) & (tokens < manifest.dimensions.vocab_size)
    if graph.kind != "step" or len(tokens) != draft.head_size or not known.all():
        raise ArtifactError(f"{folder / graph.file}: a draft of another form; build the artifact again")
    costs = step_costs(decoder, draft, manifest, settings, state)
    return Draft(draft, tokens, costs, steps_are_exact(decoder, manifest, settings, state))
