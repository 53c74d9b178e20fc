"""Engines in processes of their own: how they fail, and this project's engine measured for real."""

import sys
from pathlib import Path

import pytest

from edgewhisper.bench.measure import measure, write_checkpoint
from edgewhisper.bench.workers import Contestant, Setting, Worker, convert_all, start_workers
from edgewhisper.errors import EdgeWhisperError

UNKNOWN = Contestant("no such engine", sys.executable)
WITHOUT_ARTIFACT = Contestant("edgewhisper-fp32", sys.executable)


def test_an_engine_that_cannot_be_converted_for_is_reported_with_its_last_line(tmp_path: Path) -> None:
    assert convert_all([UNKNOWN], Setting(tmp_path, 1)) == {UNKNOWN.name: "KeyError: 'no such engine'"}


def test_an_engine_that_does_not_start_is_reported_with_its_last_line(tmp_path: Path) -> None:
    workers, failed = start_workers([WITHOUT_ARTIFACT], Setting(tmp_path, 1))
    assert workers == {}
    assert "no such artifact folder" in failed["edgewhisper-fp32"]


def test_an_engine_that_cannot_be_converted_for_is_not_measured(tmp_path: Path) -> None:
    figures = measure([UNKNOWN], Setting(tmp_path, 1), 1, speed=True, memory=True)
    assert figures[UNKNOWN.name].speed is None
    assert figures[UNKNOWN.name].peak is None
    assert figures[UNKNOWN.name].failure == "KeyError: 'no such engine'"


def test_a_checkpoint_of_no_known_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgeWhisperError, match="no model 'huge'"):
        write_checkpoint("huge", tmp_path)


@pytest.mark.slow
def test_this_engine_is_measured_on_a_random_checkpoint(tmp_path: Path) -> None:
    write_checkpoint("tiny.en", tmp_path)
    setting = Setting(tmp_path, threads=1)
    WITHOUT_ARTIFACT.convert(setting)
    worker = Worker(WITHOUT_ARTIFACT, setting)
    assert set(worker.versions) == {"edgewhisper", "onnxruntime"}
    encode = worker.ask(stage="encode")
    short = worker.ask(stage="decode", tokens=30)
    long = worker.ask(stage="decode", tokens=200)
    one, several = worker.ask(stage="step", tokens=1), worker.ask(stage="step", tokens=8)
    assert worker.ask(stage="first step") is None  # the encoder computes its share
    peak = worker.peak()
    worker.close()
    assert encode is not None
    assert encode.seconds > 0
    assert short is not None
    assert long is not None
    assert long.seconds > short.seconds > 0
    assert one is not None
    assert several is not None
    assert several.seconds > one.seconds > 0
    assert peak > 100e6
