"""Half-precision graphs for CUDA: their text on the CPU, and on a GPU where there is one."""

from collections.abc import Sequence
from pathlib import Path

import onnxruntime
import pytest

from edgewhisper.artifact import load_manifest
from edgewhisper.pipeline.build import build
from edgewhisper.pipeline.options import BuildOptions
from edgewhisper.runtime.session import SessionSettings, create_session, nodes_by_provider
from edgewhisper.runtime.transcriber import Transcriber
from tests.conftest import BundledRecording

pytestmark = pytest.mark.slow
needs_gpu = pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="needs an NVIDIA GPU and the package onnxruntime-gpu",
)


@pytest.fixture(scope="module")
def cuda_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cuda") / "demo"
    return build("demo", folder, BuildOptions(precision="fp16", target="cuda", gate="off"), parity=False)


def texts(artifact: Path, recordings: Sequence[BundledRecording], provider: str = "cpu") -> list[str]:
    """Of greedy decoding."""
    transcriber = Transcriber(artifact, provider)
    return [
        "".join(segment.text for segment in transcriber.transcribe(recording.path)[0])
        for recording in recordings
    ]


def test_the_text_in_half_precision_is_that_of_fp32(
    cuda_artifact: Path, demo_artifact: Path, recordings: Sequence[BundledRecording]
) -> None:
    """The CPU has no half-precision kernels for most nodes; ONNX Runtime rounds between them."""
    assert texts(cuda_artifact, recordings) == texts(demo_artifact, recordings)


@needs_gpu
def test_the_text_on_a_gpu_is_that_of_fp32_on_the_cpu(
    cuda_artifact: Path, demo_artifact: Path, recordings: Sequence[BundledRecording]
) -> None:
    assert texts(cuda_artifact, recordings, "cuda") == texts(demo_artifact, recordings)


@needs_gpu
@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_gpu_runs_all_but_integers(cuda_artifact: Path, name: str) -> None:
    graph = load_manifest(cuda_artifact).graph(name)
    counts = nodes_by_provider(create_session(cuda_artifact, graph, SessionSettings(provider="cuda")))
    # Lengths and positions stay on the CPU: at most nine nodes, however many layers there are.
    assert counts["CUDAExecutionProvider"] > 20
    assert counts.get("CPUExecutionProvider", 0) < 10
