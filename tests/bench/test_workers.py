"""Engines in processes of their own: how they fail, and this project's engine measured for real."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgewhisper.artifact import load_manifest
from edgewhisper.bench.clips import write_clip
from edgewhisper.bench.measure import Wanted, measure, write_checkpoint
from edgewhisper.bench.workers import Contestant, Setting, Worker, convert_all, started_workers
from edgewhisper.errors import EdgeWhisperError

UNKNOWN = Contestant("no such engine", sys.executable)
WITHOUT_ARTIFACT = Contestant("edgewhisper-fp32", sys.executable)


def test_an_engine_that_cannot_be_converted_for_is_reported_with_its_last_line(tmp_path: Path) -> None:
    assert convert_all([UNKNOWN], Setting(tmp_path, 1)) == {UNKNOWN.name: "KeyError: 'no such engine'"}


def test_an_engine_that_does_not_start_is_reported_with_its_last_line(tmp_path: Path) -> None:
    with started_workers([WITHOUT_ARTIFACT], Setting(tmp_path, 1)) as (workers, failed):
        assert workers == {}
    assert "no such artifact folder" in failed["edgewhisper-fp32"]


def test_an_engine_that_cannot_be_converted_for_is_not_measured(tmp_path: Path) -> None:
    (variant,) = measure([UNKNOWN], Setting(tmp_path, 1), Wanted(rounds=1))
    assert variant.name == UNKNOWN.name
    assert variant.encoder_ms is None
    assert variant.peak is None
    assert variant.failure == "KeyError: 'no such engine'"


def script(folder: Path, body: str) -> str:
    """An interpreter that does something else than what it is asked for."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_an_engine_that_hangs_is_ended(tmp_path: Path) -> None:
    hanging = Contestant("slow", script(tmp_path, "exec sleep 100"))
    setting = Setting(tmp_path, 1, patience=0.3, conversion_patience=0.3)
    assert convert_all([hanging], setting) == {"slow": "converting took longer than 0 s"}
    with started_workers([hanging], setting) as (workers, failed):
        assert workers == {}
        assert failed == {"slow": "no answer within 0 s"}


def test_an_engine_that_crashes_is_named_with_its_signal(tmp_path: Path) -> None:
    crashing = Contestant("crash", script(tmp_path, "kill -SEGV $$"))
    with started_workers([crashing], Setting(tmp_path, 1)) as found:
        assert found == ({}, {"crash": "ended by signal 11"})


def test_what_is_interrupted_ends_the_engines_at_once(tmp_path: Path) -> None:
    answers = Contestant("busy", script(tmp_path, "echo '{\"versions\": {}}'; exec sleep 100"))
    processes = []

    def interrupted() -> None:
        with started_workers([answers], Setting(tmp_path, 1)) as (workers, _):
            processes.append(workers["busy"].process)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ProcessLookupError):
        os.kill(processes[0], 0)


def test_converting_ends_with_the_process_that_wants_it(tmp_path: Path) -> None:
    """Which is killed here, and so cannot see to it."""
    slow = (
        "from edgewhisper.bench import worker; from edgewhisper.bench.engines.ours import EdgeWhisper; import os, subprocess, sys\n"
        f"def convert(work, precision): open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); subprocess.run(['sleep', '100'])\n"
        "EdgeWhisper.convert = staticmethod(convert); sys.argv[1:3] = []; worker.main()\n"
    )
    (tmp_path / "slow.py").write_text(slow)
    python = script(tmp_path, f"exec '{sys.executable}' '{tmp_path / 'slow.py'}' \"$@\"")
    wanted = f"Contestant('edgewhisper-fp32', {python!r}).convert(Setting(Path({str(tmp_path)!r}), 1))"
    program = f"from pathlib import Path; from edgewhisper.bench.workers import Contestant, Setting; {wanted}"
    process = subprocess.Popen([sys.executable, "-c", program])
    wait_for((tmp_path / "pid").exists)
    wait_for(lambda: (tmp_path / "pid").read_text() != "")
    converting = int((tmp_path / "pid").read_text())
    process.kill()
    process.wait()
    wait_for(lambda: not runs(converting))


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_checkpoint_of_no_known_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgeWhisperError, match="no model 'huge'"):
        write_checkpoint("huge", tmp_path)


def test_this_projects_engine_is_measured(demo_artifact: Path, tmp_path: Path) -> None:
    """Every stage, on the bundled model, in a process of its own."""
    manifest = load_manifest(demo_artifact)
    setting = Setting(tmp_path, 1, manifest.audio.n_mels, manifest.audio.n_frames)
    worker = Worker(Contestant(f"edgewhisper-{demo_artifact}", sys.executable), setting)
    assert set(worker.versions) == {"edgewhisper", "onnxruntime"}
    assert 0 < worker.load_seconds < 60
    clip = write_clip(tmp_path, 1.0)
    commands: dict[str, dict[str, object]] = {
        "first token": {"stage": "first token"},
        "encode": {"stage": "encode"},
        "short": {"stage": "decode", "tokens": 20},
        "long": {"stage": "decode", "tokens": 100},
        "one": {"stage": "step", "tokens": 1},
        "several": {"stage": "step", "tokens": 8},
        "clip": {"stage": "clip", "path": str(clip), "tokens": 3},
    }
    found = {name: worker.ask(**command) for name, command in commands.items()}
    assert worker.ask(stage="first step") is None  # the encoder computes its share
    assert 50e6 < worker.resident() <= worker.peak()
    worker.close()
    assert all(timing is not None and timing.seconds > 0 for timing in found.values())
