"""A limit of memory at build time: the most accurate precision whose transcription fits it."""

from edgewhisper.artifact import ModelDimensions
from edgewhisper.errors import BuildError, UsageError
from edgewhisper.runtime.memory_budget import transcription_memory

from .options import BuildOptions, Plan, Precision, check_used

# From the most accurate to the smallest: encoder, decoder.
_SMALLER: tuple[tuple[Precision, Precision], ...] = (("int8-dynamic", "int8"), ("int8-dynamic", "int4"))


def fit_memory(plan: Plan, options: BuildOptions, dimensions: ModelDimensions) -> Plan:
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
        if _needed(candidate, dimensions, low_memory) <= options.max_ram:
            check_used(options, candidate)
            return candidate
    smallest = min(plans, key=lambda candidate: _needed(candidate, dimensions))
    raise UsageError(
        f"--max-ram {options.max_ram / 1e6:.0f} MB: a transcription needs about {_needed(smallest, dimensions) / 1e6:.0f} MB "
        f"even with the encoder in {smallest.encoder}, the decoder in {smallest.decoder} and --low-memory; take a smaller model"
    )


def require_fit(plan: Plan, options: BuildOptions, dimensions: ModelDimensions) -> None:
    """Check that a plan which replaces a refused one keeps the limit.

    Raises:
        BuildError: it does not.
    """
    if options.max_ram is not None and _needed(plan, dimensions) > options.max_ram:
        raise BuildError(
            f"--max-ram {options.max_ram / 1e6:.0f} MB: the next safer precision (encoder {plan.encoder}, decoder {plan.decoder}) "
            f"needs about {_needed(plan, dimensions) / 1e6:.0f} MB; nothing was written; allow more memory, or take a smaller model"
        )


def _needed(plan: Plan, dimensions: ModelDimensions, low_memory: bool = True) -> int:
    return transcription_memory(dimensions, plan.encoder, plan.decoder, low_memory)
