"""Whether this device computes one row of a decoder step like several.

Logits must not depend on how many tokens a step takes, else tokens that were verified together would differ from those
that were decoded one by one. ONNX Runtime's CPU attention breaks this for single rows on x86; the decoder graph works
round it. That no other kernel of this device breaks it is probed at first use and remembered.
"""

import math
import platform
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgewhisper.artifact import Manifest

from .decoder import Decoder
from .encoder import CrossKV
from .kv_cache import info_type
from .onnxruntime_import import onnxruntime
from .session import SessionSettings, memory_device
from .state import DeviceState

_PROBED_TOKENS = 12
_MOST_ROWS = 9  # of a verification
_SEED = 1
_INT8_SPREAD = np.float32(
    30
)  # standard deviation of random keys and values in INT8: four of them fill the range


def single_rows_are_exact(
    decoder: Decoder, manifest: Manifest, settings: SessionSettings, state: DeviceState
) -> bool:
    """Probe, or remember, whether steps of one token give the bits that steps of several give.

    Args:
        decoder: freshly loaded; its sequence is lost.
        manifest: of the artifact that the decoder comes from.
        settings: what the decoder runs with.
        state: remembers the answer for this processor, ONNX Runtime and graph.
    """
    return _remembered("single_row_exact", (1,), decoder, manifest, settings, state)


def steps_are_exact(
    decoder: Decoder, manifest: Manifest, settings: SessionSettings, state: DeviceState
) -> bool:
    """Whether steps of several tokens give the bits of single ones, so that verified tokens are those of greedy decoding.

    On processors they do: the graphs are made for it, unless one range is measured for all rows (dynamic INT8). Other
    devices are probed at first use. Arguments as of `single_rows_are_exact`.
    """
    if settings.provider == "cpu":
        return manifest.graph("decoder").precision != "int8-dynamic"
    return _remembered("steps_exact", range(1, _MOST_ROWS + 1), decoder, manifest, settings, state)


def _remembered(
    section: str,
    counts: Sequence[int],
    decoder: Decoder,
    manifest: Manifest,
    settings: SessionSettings,
    state: DeviceState,
) -> bool:
    key = device_key(manifest, settings, "decoder")
    known = state.get(section, key)
    if isinstance(known, bool):
        return known
    cross = random_cross_kv(manifest, random.Random(_SEED), memory_device(settings))
    exact = _probe(decoder, cross, manifest, counts)
    decoder.release()
    state.put(section, {key: exact})
    return exact


def _probe(decoder: Decoder, cross: CrossKV, manifest: Manifest, counts: Sequence[int]) -> bool:
    """Whether steps of so many tokens each give what one step of all tokens gives."""
    source = random.Random(_SEED)  # NumPy's would be loaded for this alone, 3 MB
    decoder.reset(cross)
    tokens = [source.randrange(manifest.dimensions.vocab_size) for _ in range(_PROBED_TOKENS)]
    together = decoder.run(tokens).copy()
    for count in counts:
        decoder.rollback(0)
        for start in range(0, _PROBED_TOKENS, count):
            step = tokens[start : start + count]
            if not np.array_equal(decoder.run(step), together[start : start + count]):
                return False
    return True


def random_cross_kv(
    manifest: Manifest, source: random.Random, device: str = "cpu", encoder: str = "encoder"
) -> CrossKV:
    """Keys and values as an encoder gives them, of noise, in the memory of `device`."""
    values: dict[str, Any] = {}
    for info in manifest.graph(encoder).outputs:
        positions = manifest.dimensions.max_source_positions
        shape = (1, *(size if isinstance(size, int) else positions for size in info.shape[1:]))
        spread = _INT8_SPREAD if info.dtype == "int8" else 1
        noise = np.frombuffer(source.randbytes(math.prod(shape)), np.int8).reshape(shape) / np.float32(64)
        array = (spread * noise).astype(info_type(info))
        values[info.name.replace("present_", "past_", 1)] = onnxruntime().OrtValue.ortvalue_from_numpy(
            array, device, 0
        )
    return CrossKV(values)


def device_key(manifest: Manifest, settings: SessionSettings, *graphs: str) -> str:
    """What an answer that was probed holds for: this processor, ONNX Runtime, and some of an artifact's graphs."""
    files = {manifest.graph(name).file for name in graphs}
    checksums = [info.sha256[:16] for info in manifest.files if info.name in files]
    provider = f"{settings.provider} {sorted(settings.provider_options.items())} {settings.threads}"
    weights = manifest.model.checkpoint_sha256[:16]
    return ", ".join(
        [f"onnxruntime {onnxruntime().__version__}", _processor(), provider, *checksums, weights]
    )


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = {line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "CPU part"))}
    return " ".join([platform.machine(), *sorted(named)])
