"""Half-precision graphs for CUDA: their text on the CPU, and on a GPU where there is one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest

from edgewhisper.artifact import load_manifest
from edgewhisper.pipeline.build import build
from edgewhisper.pipeline.options import BuildOptions
from edgewhisper.runtime.options import DecodingOptions
from edgewhisper.runtime.session import SessionSettings, create_session, nodes_by_provider
from edgewhisper.runtime.transcriber import Transcriber
from tests.conftest import BundledRecording

pytestmark = pytest.mark.slow
needs_gpu = pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="needs an NVIDIA GPU and the package onnxruntime-gpu",
)


Tokens = list[list[tuple[int, ...]]]


@pytest.fixture(scope="module", params=["shared:1", "heads"])
def cuda_artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cuda") / "demo"
    options = BuildOptions(precision="fp16", target="cuda", draft=request.param, gate="off")
    return build("demo", folder, options, parity=False)


def written(
    artifact: Path, recordings: Sequence[BundledRecording], options: DecodingOptions, provider: str = "cpu"
) -> Tokens:
    """The segments' tokens, recording by recording."""
    transcriber = Transcriber(artifact, provider)
    return [
        [segment.tokens for segment in transcriber.transcribe(recording.path, options)[0]]
        for recording in recordings
    ]


GREEDY = DecodingOptions(temperature=0.0, speculate="off")
WITHOUT_TIMESTAMPS = replace(GREEDY, timestamps=False)


def test_the_text_in_half_precision_is_that_of_fp32(
    cuda_artifact: Path, demo_artifact: Path, recordings: Sequence[BundledRecording]
) -> None:
    """The CPU has no half-precision kernels for most nodes; ONNX Runtime rounds between them."""
    expected = written(demo_artifact, recordings, WITHOUT_TIMESTAMPS)
    assert written(cuda_artifact, recordings, WITHOUT_TIMESTAMPS) == expected


@needs_gpu
def test_the_text_on_a_gpu_is_that_of_fp32_on_the_cpu(
    cuda_artifact: Path, demo_artifact: Path, recordings: Sequence[BundledRecording]
) -> None:
    """Timestamps are a matter of hundredths of a second: half precision moves some, and with them what follows."""
    expected = written(demo_artifact, recordings, WITHOUT_TIMESTAMPS)
    assert written(cuda_artifact, recordings, WITHOUT_TIMESTAMPS, "cuda") == expected


@needs_gpu
def test_portable_graphs_have_the_same_text_on_a_gpu_in_fp32(
    demo_artifact: Path, recordings: Sequence[BundledRecording], tmp_path: Path
) -> None:
    portable = build("demo", tmp_path / "portable", BuildOptions(ops="portable", gate="off"), parity=False)
    expected = written(demo_artifact, recordings, WITHOUT_TIMESTAMPS)
    assert written(portable, recordings, WITHOUT_TIMESTAMPS, "cuda") == expected


@needs_gpu
def test_auto_guesses_on_a_gpu_only_where_it_may_change_the_text(
    cuda_artifact: Path, recordings: Sequence[BundledRecording]
) -> None:
    transcriber = Transcriber(cuda_artifact, "cuda")
    exact = transcriber._model.load_draft(False) is not None
    for allowed in (False, True):
        options = replace(WITHOUT_TIMESTAMPS, speculate="auto", allow_inexact=allowed)
        segments, info = transcriber.transcribe(recordings[0].path, options)
        list(segments)
        assert (info.statistics.speculation.proposed > 0) is (exact or allowed)


@needs_gpu
@pytest.mark.parametrize("timestamps", [True, False])
def test_guessed_tokens_on_a_gpu(
    cuda_artifact: Path,
    recordings: Sequence[BundledRecording],
    timestamps: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Kernels for several rows may round otherwise than those for one; what comes of it is printed, and is rare."""
    options = replace(GREEDY, timestamps=timestamps)
    greedy = written(cuda_artifact, recordings, options, "cuda")
    for count in (1, 4, 8):
        guessed = written(cuda_artifact, recordings, replace(options, speculate=count), "cuda")
        changed = sum(a != b for a, b in zip(greedy, guessed, strict=True))
        with capsys.disabled():
            print(f"\n{changed} of {len(recordings)} texts changed, {count} guesses, timestamps {timestamps}")
        assert changed <= len(recordings) // 10


@needs_gpu
@pytest.mark.parametrize("name", ["encoder", "decoder", "draft"])
def test_a_gpu_runs_all_but_integers(cuda_artifact: Path, name: str) -> None:
    graph = load_manifest(cuda_artifact).graph(name)
    counts = nodes_by_provider(create_session(cuda_artifact, graph, SessionSettings(provider="cuda")))
    # Lengths and positions stay on the CPU: at most nine nodes, however many layers there are.
    assert counts["CUDAExecutionProvider"] > 20
    assert counts.get("CPUExecutionProvider", 0) < 10
