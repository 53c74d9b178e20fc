"""Sessions: what is refused, and with which words."""

from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest

from edgewhisper.artifact import GraphInfo
from edgewhisper.errors import ArtifactError, ProviderError, UsageError
from edgewhisper.runtime import session
from edgewhisper.runtime.session import SessionSettings, create_session, nodes_by_provider
from tests.small_models import export, random_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def graph(folder: Path) -> GraphInfo:
    return export(random_checkpoint(), folder).graph("decoder")


def test_every_node_runs_on_the_cpu(folder: Path, graph: GraphInfo) -> None:
    counts = nodes_by_provider(create_session(folder, graph, SessionSettings()))
    assert list(counts) == ["CPUExecutionProvider"]
    assert counts["CPUExecutionProvider"] > 20


def test_an_unknown_provider_is_bad_usage(folder: Path, graph: GraphInfo) -> None:
    with pytest.raises(UsageError, match="unknown provider 'cuba'; known are cpu, cuda"):
        create_session(folder, graph, SessionSettings(provider="cuba"))


def test_an_absent_provider_is_named_with_those_that_are_there(folder: Path, graph: GraphInfo) -> None:
    with pytest.raises(ProviderError, match=r"has no provider 'coreml' \(it has: cpu"):
        create_session(folder, graph, SessionSettings(provider="coreml"))


@pytest.mark.skipif(
    "AzureExecutionProvider" not in onnxruntime.get_available_providers(), reason="not in this package"
)
def test_a_provider_that_takes_no_node_is_refused(
    folder: Path, graph: GraphInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The CPU package contains this provider; it only runs operators that call Azure.
    monkeypatch.setattr(session, "PROVIDERS", {**session.PROVIDERS, "azure": "AzureExecutionProvider"})
    with pytest.raises(ProviderError, match=r"provider 'azure' takes no node of decoder\.onnx"):
        create_session(folder, graph, SessionSettings(provider="azure"))


def test_a_gpu_gets_no_cache_in_single_precision(
    folder: Path, graph: GraphInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A provider that is there stands for the GPU's; what is refused is refused before a session is made.
    monkeypatch.setattr(session, "PROVIDERS", {**session.PROVIDERS, "cuda": "CPUExecutionProvider"})
    with pytest.raises(
        ProviderError,
        match=r"decoder\.onnx: attention on an NVIDIA GPU is half precision; build .* --target cuda",
    ):
        create_session(folder, graph, SessionSettings(provider="cuda"))


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5"])
def test_threads_of_the_environment(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWHISPER_THREADS", "3")
    assert SessionSettings().threads == 3
    assert SessionSettings(threads=2).threads == 2
    monkeypatch.setenv("EDGEWHISPER_THREADS", given)
    with pytest.raises(UsageError, match=f"EDGEWHISPER_THREADS={given}: must be a whole number of 1 or more"):
        SessionSettings()
    monkeypatch.delenv("EDGEWHISPER_THREADS")
    assert SessionSettings().threads is None


@pytest.mark.parametrize("threads", [0, -1])
def test_fewer_than_one_thread_is_bad_usage(folder: Path, graph: GraphInfo, threads: int) -> None:
    with pytest.raises(UsageError, match="must be at least 1"):
        create_session(folder, graph, SessionSettings(threads=threads))


@pytest.mark.parametrize("content", [b"", b"not a graph", bytes(1000)])
def test_a_file_that_is_no_graph_gives_one_line(tmp_path: Path, graph: GraphInfo, content: bytes) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"bad\.onnx: ONNX Runtime .* cannot load it") as caught:
        create_session(tmp_path, replace(graph, file="bad.onnx"), SessionSettings())
    assert "\n" not in str(caught.value)
