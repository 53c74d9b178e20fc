"""A limit of memory at build time: the most accurate precision whose transcription fits it."""

from edgewhisper.artifact import ModelDimensions
from edgewhisper.errors import UsageError
from edgewhisper.runtime.memory_budget import transcription_memory

from .options import BuildOptions, Plan, Precision

# From the most accurate to the smallest: encoder, decoder.
_SMALLER: tuple[tuple[Precision, Precision], ...] = (("int8-dynamic", "int8"), ("int8-dynamic", "int4"))


def fit_memory(plan: Plan, options: BuildOptions, dimensions: ModelDimensions) -> Plan:
    """The plan, or where fp32 is no more than the default, the first smaller one that fits.

    A plan that fits with `--low-memory` comes before a smaller precision.

    Raises:
        UsageError: nothing fits; the message says what the smallest needs.
    """
    if options.max_ram is None:
        return plan
    plans = [plan]
    if not plan.is_converted and options.ops == "fused" and plan.target != "cuda":
        plans += [Plan(encoder, decoder, plan.target) for encoder, decoder in _SMALLER]
    needed = {}
    for candidate in plans:
        for low_memory in (False, True):
            if low_memory and candidate is plan and len(plans) > 1:
                continue  # INT8 is faster than fp32 with little memory, and writes the same text
            needed[candidate] = transcription_memory(
                dimensions, candidate.encoder, candidate.decoder, low_memory
            )
            if needed[candidate] <= options.max_ram:
                return candidate
    smallest = min(needed, key=lambda candidate: needed[candidate])
    raise UsageError(
        f"--max-ram {options.max_ram / 1e6:.0f} MB: a transcription needs about {needed[smallest] / 1e6:.0f} MB even with the "
        f"encoder in {smallest.encoder}, the decoder in {smallest.decoder} and --low-memory; take a smaller model"
    )
