"""Error rates of the bundled model in the forms of a benchmark run."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import onnxruntime
import pytest

from edgewhisper.bench.run import Run
from edgewhisper.pipeline import accuracy
from edgewhisper.pipeline.accuracy import with_accuracy
from edgewhisper.runtime import session
from tests.bench.sample_runs import SERVER
from tests.conftest import BundledRecording

RUN = Run("2026-01-01T00:00:00+00:00", SERVER, ())


@pytest.fixture(autouse=True)
def two_recordings(
    recordings: Sequence[BundledRecording], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the place of all."""
    for recording in [each for each in recordings if each.group == "seen"][:2]:
        shutil.copy(recording.path, tmp_path)
        (tmp_path / recording.path.name).with_suffix(".txt").write_text(recording.text, encoding="utf-8")
    monkeypatch.setattr(accuracy, "BUNDLED_RECORDINGS", tmp_path)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="needs a package without it"
)
def test_a_form_that_no_gpu_runs_here_has_the_reason_and_the_others_their_errors() -> None:
    (model,) = with_accuracy(RUN, ["fp16-cuda", "fp32-portable"]).models
    assert [variant.name for variant in model.variants] == [
        "edgewhisper-fp32",
        "edgewhisper-fp16-cuda",
        "edgewhisper-fp32-portable",
    ]
    fp32, on_gpu, portable = model.variants
    assert on_gpu.failure is not None
    assert "has no provider 'cuda'" in on_gpu.failure
    assert on_gpu.accuracy is None
    assert fp32.accuracy is not None
    assert fp32.accuracy.wer < 0.2
    assert portable.accuracy is not None
    assert portable.accuracy.same_tokens == 1


@pytest.mark.slow
def test_the_student_is_the_bundled_one_and_what_is_done_is_told() -> None:
    lines: list[str] = []
    (model,) = with_accuracy(RUN, ["int8-student"], lines.append).models
    variant = model.variants[1]
    assert (variant.name, variant.precision) == ("edgewhisper-int8-student", "int8-student")
    assert variant.accuracy is not None
    assert variant.accuracy.wer < 0.2
    assert "building demo-student as int8-student" in lines
    assert "accuracy of int8-student, 2 of 2 recordings" in lines


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Duplicate provider")
def test_a_form_on_a_gpu_is_measured_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its part is played by the processor."""
    monkeypatch.setattr(session, "PROVIDERS", {**session.PROVIDERS, "cuda": "CPUExecutionProvider"})
    for module in ("encoder", "decoder", "exactness"):
        monkeypatch.setattr(f"edgewhisper.runtime.{module}.memory_device", lambda settings: "cpu")
    (model,) = with_accuracy(RUN, ["fp16-cuda"]).models
    variant = model.variants[1]
    assert (variant.failure, variant.precision, variant.options) == (None, "fp16", {"provider": "cuda"})
    assert variant.accuracy is not None
    assert variant.accuracy.same_tokens == 1
