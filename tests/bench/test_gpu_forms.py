"""Forms and engines on a GPU, whose part a processor plays where there is none."""

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import numpy as np
import onnxruntime
import pytest
from hypothesis import strategies as st

from edgewhisper.artifact import load_manifest
from edgewhisper.bench import speculation
from edgewhisper.bench.clips import write_clip
from edgewhisper.bench.engines import OURS, PEERS, engine_kind
from edgewhisper.bench.engines.common import check_pytorch, split_device, timed_by_pytorch
from edgewhisper.bench.engines.ours import FORMS, EdgeWhisper, parse_form, transcription
from edgewhisper.bench.measure import Wanted, describe_form, measure
from edgewhisper.bench.speculation import SpeculationBench
from edgewhisper.bench.suite import LADDER, LADDER_ON_GPU, ladder, peers, pytorch
from edgewhisper.bench.workers import Contestant, Setting
from edgewhisper.pipeline.build import build
from edgewhisper.pipeline.options import BuildOptions
from edgewhisper.runtime import session
from edgewhisper.runtime.contention import Timing

GUESSING = "fp16-cuda-heads@0.75"
# What plays CUDA: the processor's provider, and its memory.
PATCHED = ("encoder", "decoder", "exactness", "speculation.costs")
PLAYED = f"""
import importlib, runpy, sys
from edgewhisper.runtime import session
session.PROVIDERS = {{**session.PROVIDERS, "cuda": "CPUExecutionProvider"}}
for name in {PATCHED}:
    importlib.import_module(f"edgewhisper.runtime.{{name}}").memory_device = lambda settings: "cpu"
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an artifact in half precision whose heads guess."""
    folder = tmp_path_factory.mktemp("work")
    options = BuildOptions(precision="fp16", target="cuda", draft="heads", gate="off")
    build("demo", folder / "artifact-fp16-cuda-heads", options, parity=False)
    return folder


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Providers of the sessions that are made, while the processor plays CUDA."""
    asked: list[str] = []
    available = session._available

    def listed(name: str, runtime: object) -> str:
        asked.append(name)
        return available(name, runtime)

    monkeypatch.setattr(session, "PROVIDERS", {**session.PROVIDERS, "cuda": "CPUExecutionProvider"})
    monkeypatch.setattr(session, "_available", listed)
    for module in PATCHED:
        monkeypatch.setattr(f"edgewhisper.runtime.{module}.memory_device", lambda settings: "cpu")
    return asked


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """How undisturbed a timing is does not matter here."""
    monkeypatch.setattr(speculation, "PAUSE", 0.0)
    monkeypatch.setattr(speculation, "ATTEMPTS", 1)


def noise(engine: EdgeWhisper) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    audio = engine._manifest.audio
    return np.random.default_rng(7).standard_normal((audio.n_mels, audio.n_frames), np.float32)


@hypothesis.given(
    st.sampled_from(FORMS), st.booleans(), st.none() | st.floats(0, 1), st.sampled_from(["", "-cuda", "-gpu"])
)
def test_a_form_is_on_a_gpu_as_its_name_says(base: str, low: bool, rate: float | None, more: str) -> None:
    name = f"{base}{'-low-memory' * low}{more}" + ("" if rate is None else f"@{rate}")
    takes_more = f"{base}{more}" in FORMS if more else True
    if not takes_more or (low and ("cuda" in name or more)):
        with pytest.raises(KeyError):
            parse_form(name)
        return
    form = parse_form(name)
    assert form.provider == ("cuda" if "cuda" in base or more else "cpu")
    assert (form.low_memory, form.acceptance) == (low, rate)
    assert ("cuda" in form.build) <= (form.provider == "cuda")
    _, options = describe_form(name)
    assert options.get("provider", "cpu") == form.provider


@hypothesis.given(st.text(max_size=30))
def test_any_other_text_is_no_form(text: str) -> None:
    base = text.partition("@")[0].removesuffix("-low-memory")
    with nullcontext() if base in FORMS or text.startswith("/") else pytest.raises(KeyError):
        parse_form(text)


def test_an_artifact_that_is_given_is_run_by_what_it_was_built_for(work: Path, demo_artifact: Path) -> None:
    artifact = work / "artifact-fp16-cuda-heads"
    assert parse_form(str(artifact)).provider == "cuda"
    assert describe_form(str(artifact)) == ("fp16", {"provider": "cuda"})
    assert parse_form(str(demo_artifact)).provider == "cpu"
    assert describe_form(str(demo_artifact)) == ("fp32", {})


@pytest.mark.filterwarnings("ignore:Duplicate provider")
def test_every_stage_of_a_form_on_a_gpu_is_run_there(
    work: Path, providers: list[str], tmp_path: Path
) -> None:
    engine = EdgeWhisper(work, GUESSING, 1)
    timings = [
        engine.encode(noise(engine)),
        engine.decode(1),
        engine.decode(20),
        engine.step(4),
        engine.clip(write_clip(tmp_path, 1.0), 3),
    ]
    assert all(timing is not None and timing.seconds > 0 for timing in timings)
    assert engine.same_text == 1.0  # a processor computes several rows like one
    gain = SpeculationBench(work / "artifact-fp16-cuda-heads", 1, "cuda").run(0.75, 5, 1)
    assert gain.same_text == 1.0
    assert len(providers) >= 8
    assert set(providers) == {"cuda"}
    command = transcription(work, GUESSING, tmp_path / "a.wav", 1)
    assert command[command.index("--provider") + 1] == "cuda"


@pytest.mark.filterwarnings("ignore:Duplicate provider")
@pytest.mark.usefixtures("providers")
def test_text_that_guesses_change_is_counted_on_a_gpu_and_an_error_on_a_processor(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = EdgeWhisper(work, GUESSING, 1)
    assert engine.same_text is None
    engine.encode(noise(engine))
    engine.decode(10)
    decode = engine._decode

    def otherwise(tokens: int, speculation: object) -> tuple[tuple[int, ...], Timing]:
        text, timing = decode(tokens, None)
        return (text if speculation is None else (*text[:-1], text[-1] + 1)), timing

    monkeypatch.setattr(engine, "_decode", otherwise)
    engine.decode(10)
    assert engine.same_text == 0.5
    monkeypatch.setattr(engine, "_provider", "cpu")
    with pytest.raises(RuntimeError, match="the text changed under speculation"):
        engine.decode(10)


def test_speculation_without_a_draft_is_refused(demo_artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "artifact-fp32").symlink_to(demo_artifact)
    (variant,) = measure(
        [Contestant(f"{OURS}-fp32@0.5", sys.executable)], Setting(tmp_path, 1), Wanted(rounds=1)
    )
    assert variant.failure is not None
    assert "has no draft that works here" in variant.failure
    assert variant.options == {"acceptance": "0.5"}


def test_memory_on_the_gpu_is_that_of_the_process_that_measures(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "played.py").write_text(PLAYED)
    python, driver = tmp_path / "python", tmp_path / "nvidia-smi"
    python.write_text(
        f"#!/bin/sh\necho $$ > '{tmp_path}/process'\nexec '{sys.executable}' -W ignore '{tmp_path}/played.py' \"$@\"\n"
    )
    driver.write_text(
        '#!/bin/sh\ncase "$*" in\n'
        "*memory.used*) echo 99;;\n"
        f"*compute-apps*) echo 1, 9; [ ! -f '{tmp_path}/process' ] || echo \"$(cat '{tmp_path}/process'), 777\";;\n"
        "esac\n"
    )
    for program in (python, driver):
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    audio = load_manifest(work / "artifact-fp16-cuda-heads").audio
    setting = Setting(work, 1, audio.n_mels, audio.n_frames)
    (variant,) = measure([Contestant(f"{OURS}-{GUESSING}", str(python))], setting, Wanted(speed=False))
    assert variant.failure is None
    assert variant.device == 777 * 2**20
    assert variant.on_gpu
    assert (variant.precision, variant.options) == ("fp16-heads", {"acceptance": "0.75", "provider": "cuda"})
    assert variant.versions["onnxruntime"] == onnxruntime.__version__


def test_peers_on_a_gpu_are_named_by_precision_and_device(tmp_path: Path) -> None:
    nobody = str(tmp_path / "no-python")
    found = measure([Contestant(name, nobody) for name in PEERS], Setting(tmp_path, 1), Wanted(rounds=1))
    on_gpu = {variant.name: variant for variant in found if variant.on_gpu}
    assert {name: (variant.engine, variant.precision) for name, variant in on_gpu.items()} == {
        "transformers-cuda": ("transformers", "fp32"),
        "transformers-fp16-cuda": ("transformers", "fp16"),
        "transformers-bf16-cuda": ("transformers", "bf16"),
        "openai-whisper-fp16-cuda": ("openai-whisper", "fp16"),
        "faster-whisper-float16-cuda": ("faster-whisper", "float16"),
    }
    assert {variant.name for variant in found} - on_gpu.keys() == {
        name for name in PEERS if "cuda" not in name
    }
    assert engine_kind("transformers").precision == "fp32"
    assert split_device("fp16-cuda") == ("fp16", "cuda")
    assert split_device("q5_1") == ("q5_1", "cpu")


def test_what_runs_on_a_gpu_is_added_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewhisper.bench.suite.gpu_name", lambda: None)
    assert not any("cuda" in name for name in (*peers(), *pytorch()))
    monkeypatch.setattr("edgewhisper.bench.suite.gpu_name", lambda: "NVIDIA T4, driver 1")
    assert peers() == tuple(PEERS)
    assert "transformers-fp16-cuda" in pytorch()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert ladder() == LADDER
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    assert ladder() == (*LADDER, *LADDER_ON_GPU)
    for name in ladder():
        parse_form(name)


def test_pytorchs_times_begin_and_end_when_the_gpu_has_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def synchronize() -> None:
        time.sleep(0.01)
        waited.append(time.perf_counter())

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(synchronize=synchronize)))
    with timed_by_pytorch("cuda") as timing:
        begun = time.perf_counter()
    first, last = waited
    assert first <= begun <= last
    assert 0.01 <= timing.seconds <= last - first
    with timed_by_pytorch("cpu"):
        pass
    assert len(waited) == 2


def test_pytorch_without_a_gpu_says_so_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, __version__="2.13.0+cpu"))
    check_pytorch("cpu")
    with pytest.raises(RuntimeError, match=r"^PyTorch 2\.13\.0\+cpu sees no NVIDIA GPU here$"):
        check_pytorch("cuda")
