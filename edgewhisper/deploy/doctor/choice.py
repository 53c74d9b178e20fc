"""Which model, precision and thread count suit the device, why, and what to expect of them.

An artifact that was given, with what was measured of it; and the largest of OpenAI's multilingual models that fits the memory and
answers soon enough, by an estimate from matrix products that were measured here.
"""

from dataclasses import dataclass
from typing import Literal

from edgewhisper.artifact import Manifest, ModelDimensions
from edgewhisper.runtime.memory_budget import transcription_memory
from edgewhisper.runtime.processor import host_target
from edgewhisper.runtime.workload import attention_macs, encoder_macs, stem_macs, step_weights

from .host import Host
from .measurement import SENTENCE_TOKENS, TOKENS_PER_SECOND, Measurement
from .products import Rates
from .storage import INSTALLATION

# From the smallest on; those that are larger have no place on a board.
CANDIDATES = ("tiny", "base", "small", "medium")
PRECISION = "int8"
_ENCODER, _DECODER = "int8-dynamic", "int8"  # what that precision makes of the two graphs
_WINDOW = 30.0  # seconds, of every published Whisper
# Of the free memory; the rest is for the system's files and for other programs.
_MEMORY_SHARE = 0.7
# Seconds from a short sentence to its text that are still bearable.
_PATIENCE = 4.0
# Times beyond what the products alone would take, on one x86-64 machine (2 cores, AVX2, ONNX Runtime 1.32.0): encoder 1.55 with
# base.en and 1.66 with tiny.en, the least of four runs beside other work; step 2.8 with base.en, from the run in benchmarks/. Not
# measured on a board.
_ENCODER_FACTOR, _STEP_FACTOR = 1.6, 2.8


@dataclass(frozen=True)
class Expected:
    """What to expect; times in seconds, memory and disk in bytes.

    Attributes:
        how: "measured" here with the artifact, or "estimated" from matrix products.
        sentence: from the end of a short sentence (15 tokens) to its text.
        window: a window full of speech.
        real_time_factor: `window` over the window's length; below 1 is faster than speech.
        encode, token: the parts of it.
        memory: the peak.
        disk: of the model.
        load: from the start to a loaded model; None where it was not measured.
    """

    how: Literal["measured", "estimated"]
    sentence: float
    window: float
    real_time_factor: float
    encode: float
    token: float
    memory: int
    disk: int
    load: float | None = None


@dataclass(frozen=True)
class Candidate:
    """A named model on this device; `reason` is what speaks against it, "" where nothing does."""

    model: str
    reason: str
    expected: Expected


@dataclass(frozen=True)
class Choice:
    """What to use.

    Attributes:
        model: its name.
        precision: of the encoder and the decoder where they differ, else of both.
        target: the processor to build for.
        threads: of one graph.
        low_memory: whether to add --low-memory.
        why: one line.
        expected: None where nothing could be measured.
    """

    model: str
    precision: str
    target: str
    threads: int
    low_memory: bool
    why: str
    expected: Expected | None


def choose_artifact(host: Host, manifest: Manifest, low_memory: bool, measured: Measurement | None) -> Choice:
    """The artifact that was given."""
    encoder, decoder = (manifest.graph(name).precision for name in ("encoder", "decoder"))
    memory = "with --low-memory, as the free memory asks for" if low_memory else "as the memory suffices"
    size = sum(info.size for info in manifest.files)
    return Choice(
        model=manifest.model.name,
        precision=decoder if encoder == decoder else f"encoder {encoder}, decoder {decoder}",
        target=manifest.build.target,
        threads=host.cores.threads,
        low_memory=low_memory,
        why=f"the artifact that was given, {memory}; {_why_threads(host)}",
        expected=None if measured is None else _measured(measured, size),
    )


def _measured(found: Measurement, size: int) -> Expected:
    fixed = found.features + found.encode
    window = fixed + TOKENS_PER_SECOND * found.window * found.token
    return Expected(
        how="measured",
        sentence=fixed + SENTENCE_TOKENS * found.token,
        window=window,
        real_time_factor=window / found.window,
        encode=found.encode,
        token=found.token,
        memory=found.peak,
        disk=size,
        load=found.load,
    )


def choose_model(
    host: Host, rates: Rates, free_memory: int, free_disk: int, free_swap: int = 0
) -> tuple[Choice | None, tuple[Candidate, ...]]:
    """One of the named models; None where not even the smallest fits memory and swap.

    The smallest is taken also where it is slower than one would like, or would swap.
    """
    from edgewhisper.models.cards import find_card  # needs NumPy, which may be what does not load

    weighed = []
    for name in CANDIDATES:
        card = find_card(name)
        expected = estimate(card.dimensions, rates, card.size(PRECISION))
        weighed.append(Candidate(name, _against(expected, free_memory, free_disk), expected))
    low_memory = weighed[0].expected.memory > free_memory
    if least_memory(CANDIDATES[0]) > free_memory + free_swap:
        return None, tuple(weighed)
    fitting = [each for each in weighed if not each.reason]
    best = fitting[-1] if fitting else weighed[0]
    return (
        Choice(
            model=best.model,
            precision=PRECISION,
            target=host_target(host.processor),
            threads=host.cores.threads,
            low_memory=low_memory,
            why=_why_model(best, bool(fitting), free_memory, host),
            expected=best.expected,
        ),
        tuple(weighed),
    )


def least_memory(model: str) -> int:
    """What a named model takes with --low-memory, in bytes, by estimate."""
    from edgewhisper.models.cards import find_card

    return transcription_memory(find_card(model).dimensions, _ENCODER, _DECODER, low_memory=True)


def _against(expected: Expected, free_memory: int, free_disk: int) -> str:
    """Why not this one; "" where nothing speaks against it."""
    if expected.memory > _MEMORY_SHARE * free_memory:
        return f"takes {expected.memory / 1e6:,.0f} MB of {free_memory / 1e6:,.0f} MB that are free"
    if expected.disk + INSTALLATION > free_disk:
        return (
            f"takes {(expected.disk + INSTALLATION) / 1e6:,.0f} MB of {free_disk / 1e6:,.0f} MB of free disk"
        )
    if expected.sentence > _PATIENCE:
        return f"a short sentence would take {expected.sentence:.1f} s"
    return ""


def estimate(dims: ModelDimensions, rates: Rates, disk: int) -> Expected:
    """What a model in INT8 would take, from this machine's products and the factors above."""
    in_fp32 = attention_macs(dims) + stem_macs(dims)
    in_int8 = encoder_macs(dims) - in_fp32
    encode = _ENCODER_FACTOR * (in_int8 / rates.int8 + in_fp32 / rates.fp32)
    token = _STEP_FACTOR * step_weights(dims) / rates.bandwidth
    window = encode + TOKENS_PER_SECOND * _WINDOW * token
    return Expected(
        how="estimated",
        sentence=encode + SENTENCE_TOKENS * token,
        window=window,
        real_time_factor=window / _WINDOW,
        encode=encode,
        token=token,
        memory=transcription_memory(dims, _ENCODER, _DECODER, low_memory=False),
        disk=disk,
    )


def _why_model(best: Candidate, fits: bool, free_memory: int, host: Host) -> str:
    found = best.expected
    if not fits:
        return f"the smallest of OpenAI's models, though {best.reason}; {_why_threads(host)}"
    return (
        f"the largest of {', '.join(CANDIDATES)} that takes at most {_MEMORY_SHARE:.0%} of {free_memory / 1e6:,.0f} MB of free memory "
        f"({found.memory / 1e6:,.0f} MB) and {_PATIENCE:g} s for a short sentence ({found.sentence:.1f} s); "
        f"{best.model}.en where only English is spoken; {_why_threads(host)}"
    )


def _why_threads(host: Host) -> str:
    cores = host.cores
    if cores.quota is not None and cores.threads < cores.fast:
        return f"threads: as many as the control group allows ({cores.quota:g} processors)"
    if cores.fast < cores.physical:
        return f"threads: one for each fast core, {cores.fast} of {cores.physical}"
    return "threads: one for each core"
