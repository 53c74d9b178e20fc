"""An artifact that was built for another processor is used, with one line of warning."""

import logging
import shutil
from pathlib import Path

import pytest

from edgewhisper.runtime.processor import TARGETS, host_target, target_mismatch
from edgewhisper.runtime.transcriber import Transcriber
from tests.small_artifacts import edit


def test_an_artifact_for_any_target_or_this_one_suits() -> None:
    assert target_mismatch("any", "cpu") is None
    assert target_mismatch(host_target(), "cpu") is None
    assert target_mismatch("cuda", "cuda") is None


@pytest.mark.parametrize("target", [target for target in TARGETS if target != host_target()])
def test_a_mismatch_names_both_and_what_to_do(target: str) -> None:
    message = target_mismatch(target, "cpu")
    assert message is not None
    assert "\n" not in message
    assert f"--target {host_target()}" in message


def test_loading_an_artifact_of_another_target_warns_once(
    demo_artifact: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = next(target for target in ("arm64", "x86-avx2") if target != host_target())
    copy = shutil.copytree(demo_artifact, tmp_path / "copy")
    edit(copy, "build", "target", value=other)
    with caplog.at_level(logging.WARNING, "edgewhisper"):
        Transcriber(demo_artifact)
        assert not caplog.records
        Transcriber(copy)
    (record,) = caplog.records
    assert other in record.getMessage()
    assert str(copy) in record.getMessage()
