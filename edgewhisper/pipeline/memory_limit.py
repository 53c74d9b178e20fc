"""A limit of memory at build time: the most accurate precision whose transcription fits it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewhisper.artifact import DRAFT, HEADS, STEP, GraphInfo, ModelDimensions
from edgewhisper.errors import BuildError, UsageError
from edgewhisper.runtime.memory_budget import (
    distilled_memory,
    draft_layers,
    model_memory,
    transcription_memory,
)

from .options import BuildOptions, Plan, Precision, check_used

if TYPE_CHECKING:
    from .draft_choice import DraftChoice

# From the most accurate to the smallest: encoder, decoder.
_SMALLER: tuple[tuple[Precision, Precision], ...] = (("int8-dynamic", "int8"), ("int8-dynamic", "int4"))


@dataclass(frozen=True)
class DraftSize:
    """What of a draft decides how much memory it takes: its graph's kind, layers and scored tokens, or the dimensions of an assistant."""

    kind: str = STEP
    layers: int = 0
    tokens: int = 0
    assistant: ModelDimensions | None = None

    @classmethod
    def of_choice(cls, choice: "DraftChoice | None") -> "DraftSize | None":
        """Of what `--draft` asks for; None for nothing, and for phrases, which are mapped."""
        if choice is None or choice.phrases is not None:
            return None
        if choice.assistant is not None:
            return cls(assistant=choice.assistant.dimensions)
        assert choice.draft is not None
        info = choice.draft.info
        return cls(HEADS if info.kind == "heads" else STEP, info.layers, len(info.tokens))

    @classmethod
    def of_graphs(cls, graphs: Mapping[str, GraphInfo]) -> "DraftSize | None":
        """Of an artifact's draft."""
        if (graph := graphs.get(DRAFT)) is None:
            return None
        return cls(graph.kind, draft_layers(graph), len(graph.head_tokens or ()))


@dataclass(frozen=True)
class MemoryNeed:
    """What a transcription takes, by the precisions of its graphs."""

    dimensions: ModelDimensions
    draft: DraftSize | None = None

    def of(self, plan: Plan, low_memory: bool = True) -> int:
        """Bytes at the peak."""
        dims, draft = self.dimensions, self.draft
        needed = transcription_memory(dims, plan.encoder, plan.decoder, low_memory)
        if draft is None:
            return needed
        if draft.assistant is not None:
            return needed + model_memory(draft.assistant, plan.encoder, plan.decoder)
        return needed + distilled_memory(draft.kind, draft.layers, draft.tokens, dims, plan.decoder)


def fit_memory(plan: Plan, options: BuildOptions, need: MemoryNeed) -> Plan:
    """The plan, or where no precision was asked for, the first smaller one that fits.

    A plan that fits with `--low-memory` comes before a smaller precision.

    Raises:
        UsageError: nothing fits; the message says what the smallest needs. Or an option that the chosen plan does not read.
    """
    if options.max_ram is None:
        return plan
    plans = [plan]
    if options.chooses_precision and options.ops == "fused" and plan.target != "cuda":
        plans += [Plan(encoder, decoder, plan.target) for encoder, decoder in _SMALLER]
    for candidate in plans:
        # INT8 is faster than fp32 with little memory, and writes the same text.
        low_memory = candidate is not plan or len(plans) == 1
        if need.of(candidate, low_memory) <= options.max_ram:
            check_used(options, candidate)
            return candidate
    smallest = min(plans, key=need.of)
    draft = "" if need.draft is None else "leave out --draft, or "
    raise UsageError(
        f"--max-ram {options.max_ram / 1e6:.0f} MB: a transcription needs about {need.of(smallest) / 1e6:.0f} MB "
        f"even with the encoder in {smallest.encoder}, the decoder in {smallest.decoder} and --low-memory; {draft}take a smaller model"
    )


def require_fit(plan: Plan, options: BuildOptions, need: MemoryNeed) -> None:
    """Check that a plan which replaces a refused one keeps the limit.

    Raises:
        BuildError: it does not.
    """
    if options.max_ram is not None and need.of(plan) > options.max_ram:
        raise BuildError(
            f"--max-ram {options.max_ram / 1e6:.0f} MB: the next safer precision (encoder {plan.encoder}, decoder {plan.decoder}) "
            f"needs about {need.of(plan) / 1e6:.0f} MB; nothing was written; allow more memory, or take a smaller model"
        )
