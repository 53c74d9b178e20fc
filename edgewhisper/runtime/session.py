"""ONNX Runtime sessions: providers, threads and options."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgewhisper.artifact import GraphInfo
from edgewhisper.errors import ArtifactError, EdgeWhisperError, ProviderError, UsageError

from .memory import return_large_blocks
from .onnxruntime_import import onnxruntime

PROVIDERS: Mapping[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}
# Of ONNX Runtime's own messages, which can be pages long.
_QUOTED_LENGTH = 200
_THREADS = "EDGEWHISPER_THREADS"


@dataclass(frozen=True)
class SessionSettings:
    """How graphs are run."""

    provider: str = "cpu"  # a key of PROVIDERS
    # Of one graph; None: those of $EDGEWHISPER_THREADS, else as many as there are physical cores.
    threads: int | None = None
    provider_options: Mapping[str, str] = field(default_factory=dict)
    low_memory: bool = False  # the least memory, at the price of time; see docs/memory.md

    def __post_init__(self) -> None:
        if self.threads is None and (given := os.environ.get(_THREADS)):
            if not given.isdecimal() or int(given) < 1:
                raise UsageError(f"{_THREADS}={given}: must be a whole number of 1 or more")
            object.__setattr__(self, "threads", int(given))


def check_provider(name: str) -> None:
    """Raises `UsageError` for an unknown provider, `ProviderError` for one that this ONNX Runtime lacks."""
    _available(name, onnxruntime())


def create_session(folder: Path, graph: GraphInfo, settings: SessionSettings) -> Any:
    """An `onnxruntime.InferenceSession` of one graph.

    Raises:
        UsageError: an unknown provider, or fewer than one thread.
        ProviderError: a provider that this ONNX Runtime lacks, that failed to start, that takes none of the nodes, or that would
            compute them wrongly.
        ArtifactError: a graph that ONNX Runtime cannot load.
    """
    runtime = onnxruntime()
    provider = _available(settings.provider, runtime)
    _check_cache(folder, graph, settings.provider)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = _checked_threads(settings.threads)
    # Every session has threads of its own, which spin while they wait for work. After a run they must sleep, else they take the
    # processors from the next session's: the encoder's from the decoder (0.9 ms a token instead of 1.3 with the bundled model on 2
    # cores), the decoder's from the draft's. Waking them costs less. Within a run they spin, which is a tenth of a token's time.
    # (One pool for all sessions of a process would do too, but then any session of the program that has its own cannot be made.)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.enable_mem_pattern = False  # shapes differ from step to step
    # ONNX Runtime's arena keeps what it ever had and grows in powers of two: 20 MB beside the decoder's packed weights, while
    # its steps allocate little. The encoder's large activations are the arena's gain: without it each comes as fresh pages.
    options.enable_cpu_mem_arena = graph.kind == "encoder" and not settings.low_memory
    if settings.low_memory:
        return_large_blocks()
    options.log_severity_level = 3
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers: list[Any] = [(provider, dict(settings.provider_options))]
    if settings.provider != "cpu":
        providers.append(PROVIDERS["cpu"])
    try:
        session = runtime.InferenceSession(str(folder / graph.file), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
        raise _load_error(folder / graph.file, graph, settings, error, runtime.__version__) from None
    if provider not in session.get_providers():
        raise ProviderError(
            f"provider '{settings.provider}' did not start here; check its drivers, or use --provider cpu"
        )
    if settings.provider != "cpu" and _takes_no_node(session, provider):
        raise ProviderError(
            f"provider '{settings.provider}' takes no node of {graph.file}; use --provider cpu"
        )
    return session


def _check_cache(folder: Path, graph: GraphInfo, provider: str) -> None:
    """ONNX Runtime's CUDA attention over a cache takes fp32 and computes it wrongly: 1.31 gives other text, without an error."""
    cached = {info.dtype for info in graph.inputs if info.name.startswith("past_") and "_self_" in info.name}
    if provider in ("cuda", "tensorrt") and graph.ops == "fused" and not cached <= {"float16"}:
        raise ProviderError(
            f"{folder / graph.file}: attention on an NVIDIA GPU is half precision; build the artifact with "
            "--precision fp16 --target cuda, or with --ops portable"
        )


def _load_error(
    path: Path, graph: GraphInfo, settings: SessionSettings, error: Exception, version: str
) -> EdgeWhisperError:
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)[:_QUOTED_LENGTH]
    if settings.provider != "cpu":
        return ProviderError(
            f"provider '{settings.provider}' cannot load {path} ({line}); use --provider cpu"
        )
    return ArtifactError(
        f"{path}: ONNX Runtime {version} cannot load it ({line}); build the artifact again, "
        f"with ONNX Runtime {graph.min_onnxruntime} or newer on the device"
    )


def memory_device(settings: SessionSettings) -> str:
    """Where ONNX Runtime keeps what goes from one graph or step to the next: "cuda" or "cpu"."""
    return "cuda" if settings.provider == "cuda" else "cpu"


def nodes_by_provider(session: Any) -> dict[str, int]:
    """Execution provider -> number of nodes it runs, after ONNX Runtime's own rewrites.

    Raises:
        ProviderError: an ONNX Runtime that does not tell.
    """
    if not _tells_assignment(session):
        version = onnxruntime().__version__
        raise ProviderError(
            f"this ONNX Runtime ({version}) does not tell which provider runs a node; install 1.24.4 or newer"
        )
    counts: dict[str, int] = {}
    for subgraph in session.get_provider_graph_assignment_info():
        counts[subgraph.ep_name] = counts.get(subgraph.ep_name, 0) + len(subgraph.get_nodes())
    return counts


def _tells_assignment(session: Any) -> bool:
    """Whether this ONNX Runtime can be asked: 1.24 and later, unlike the last package with OpenVINO."""
    return hasattr(session, "get_provider_graph_assignment_info")


def _takes_no_node(session: Any, provider: str) -> bool:
    return _tells_assignment(session) and nodes_by_provider(session).get(provider, 0) == 0


def _available(name: str, runtime: Any) -> str:
    if name not in PROVIDERS:
        raise UsageError(f"unknown provider '{name}'; known are {', '.join(PROVIDERS)}")
    here = runtime.get_available_providers()
    if PROVIDERS[name] not in here:
        offered = [known for known, full in PROVIDERS.items() if full in here]
        raise ProviderError(
            f"this ONNX Runtime ({runtime.__version__}) has no provider '{name}' (it has: {', '.join(offered)}); "
            "install an ONNX Runtime package that has it"
        )
    return PROVIDERS[name]


def _checked_threads(threads: int | None) -> int:
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads: must be at least 1")
    return threads or 0  # 0 lets ONNX Runtime choose
