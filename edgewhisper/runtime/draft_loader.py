"""The artifact's draft, loaded when a transcription first wants it."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from edgewhisper.artifact import (
    DRAFT,
    DRAFT_ENCODER,
    HEADS,
    PHRASES,
    STEP,
    Manifest,
    check_file,
    draft_files,
)
from edgewhisper.errors import ArtifactError

from .decoder import Decoder
from .encoder import CrossKV, Encoder
from .exactness import steps_are_exact
from .heads import Heads
from .session import SessionSettings
from .speculation.costs import step_costs
from .speculation.drafter import Drafter
from .speculation.heads import HeadsDrafter
from .speculation.lookup import LookupDrafter
from .speculation.model import ModelDrafter
from .speculation.phrases import Phrases
from .speculation.speculation import Draft
from .state import DeviceState
from .verification import verify_files

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
        has_phrases = any(info.name == PHRASES for info in manifest.files)
        self._is_loaded = DRAFT not in manifest.graphs and not has_phrases
        self._draft: Draft | None = None
        self._is_exact = True

    def __call__(self, although_inexact: bool) -> Draft | None:
        """The draft; the decoder's sequence is lost.

        None where steps of several tokens have other bits than single ones, unless `although_inexact`.
        """
        if self._is_loaded:
            return self._draft if although_inexact or self._is_exact else None
        _, manifest, settings, decoder, state = self._from
        self._is_exact = steps_are_exact(decoder, manifest, settings, state)
        if not (although_inexact or self._is_exact):
            return None
        self._is_loaded = True
        try:
            self._draft = _load(*self._from)
        except Exception as error:  # ONNX Runtime's have no common base
            line = next(iter(str(error).splitlines()), type(error).__name__)
            _LOG.warning("%s; decoding goes on without a draft", line)
        return self._draft


def _load(
    folder: Path, manifest: Manifest, settings: SessionSettings, decoder: Decoder, state: DeviceState
) -> Draft:
    names = draft_files(manifest)
    files = [info for info in manifest.files if info.name in names]
    for info in files:
        check_file(folder, info)
    verify_files(folder, files, state)
    if DRAFT not in manifest.graphs:
        phrases = Phrases.read(folder / PHRASES, manifest.dimensions.vocab_size)
        return Draft(partial(LookupDrafter, phrases), step_costs(decoder, None, manifest, settings, state))
    graph = manifest.graph(DRAFT)
    every = range(manifest.dimensions.vocab_size)
    tokens = np.array(every if graph.head_tokens is None else graph.head_tokens, np.int64)
    known = (tokens >= 0) & (tokens < manifest.dimensions.vocab_size)
    draft: Decoder | Heads
    drafter: Callable[[], Drafter]
    encoder: Encoder | None = None
    if graph.kind == HEADS:
        if decoder.hidden_width == 0:
            raise ArtifactError(
                f"{folder / graph.file}: goes on from what decoder.onnx does not give; build the artifact again"
            )
        draft = heads = Heads(folder, manifest, settings, DRAFT)
        drafter = partial(HeadsDrafter, heads, tokens)
    else:
        draft = small = Decoder(folder, manifest, settings, DRAFT)
        drafter = partial(ModelDrafter, small, tokens)
        if DRAFT_ENCODER in manifest.graphs:
            encoder = Encoder(folder, manifest, settings, DRAFT_ENCODER)
            drafter = partial(ModelDrafter, small, tokens, partial(_encode_again, encoder))
    if graph.kind not in (STEP, HEADS) or len(tokens) != draft.head_size or not known.all():
        raise ArtifactError(f"{folder / graph.file}: a draft of another form; build the artifact again")
    costs = step_costs(decoder, draft, manifest, settings, state, encoder)
    return Draft(drafter, costs)


def _encode_again(encoder: Encoder, cross: CrossKV) -> CrossKV:
    """What an assistant's own encoder makes of a window."""
    assert cross.log_mel is not None
    return encoder.run(cross.log_mel)
