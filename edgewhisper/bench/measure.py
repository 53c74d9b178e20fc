"""Speed and memory of engines on one checkpoint of random weights."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from edgewhisper.errors import EdgeWhisperError

from .engines import OURS
from .engines.ours import transcription
from .memory import peak_of_command
from .report import EngineFigures
from .speed import LAST, compare
from .workers import Contestant, Setting, Worker, convert_all, start_workers

_WINDOW_SECONDS, _SAMPLE_RATE = 30, 16_000
_LOUDNESS = 0.05  # standard deviation of the noise that is transcribed


def write_checkpoint(model: str, work: Path) -> None:
    """Make `work/checkpoint`, random weights that stop by themselves, unless it is there.

    Raises:
        EdgeWhisperError: there is no such model, or the folder cannot be written.
    """
    if (work / "checkpoint").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    command = ["-m", "edgewhisper", "random", model, "-o", str(work / "checkpoint"), "--tokens", str(LAST)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EdgeWhisperError(done.stderr.strip())


def measure(
    contestants: Sequence[Contestant], setting: Setting, rounds: int, *, speed: bool, memory: bool
) -> dict[str, EngineFigures]:
    """Convert the checkpoint for every engine, then measure those that it could be converted for.

    Returns:
        Figures by name, in the order of `contestants`; what failed has the reason.
    """
    failed = convert_all(contestants, setting)
    figures = {each.name: EngineFigures(failure=failed.get(each.name)) for each in contestants}
    ready = [each for each in contestants if each.name not in failed]
    if speed:
        figures |= _speeds(ready, setting, rounds)
    if memory:
        for contestant in ready:
            figures[contestant.name] = _with_memory(figures[contestant.name], contestant, setting)
    return figures


def _speeds(contestants: Sequence[Contestant], setting: Setting, rounds: int) -> Mapping[str, EngineFigures]:
    workers, failed = start_workers(contestants, setting)
    speeds, failed_later = compare(workers, rounds)
    for name, worker in workers.items():
        if name not in failed_later:
            worker.close()
    failed |= failed_later
    return {
        name: EngineFigures(failure=failed[name])
        if name in failed
        else EngineFigures(speed=speeds[name], versions=workers[name].versions)
        for name in (contestant.name for contestant in contestants)
    }


def _with_memory(figures: EngineFigures, contestant: Contestant, setting: Setting) -> EngineFigures:
    """The same, with the peak of a fresh process that encodes one window and decodes it."""
    try:
        worker = Worker(contestant, setting)
        worker.ask(stage="encode")
        worker.ask(stage="decode", tokens=LAST)
        figures = replace(figures, peak=worker.peak(), versions=worker.versions)
        worker.close()
        if contestant.name.startswith(f"{OURS}-"):
            precision = contestant.name.removeprefix(f"{OURS}-")
            figures = replace(figures, transcription_peak=_transcription_peak(precision, setting))
    except EdgeWhisperError as error:
        return replace(figures, failure=str(error))
    return figures


def _transcription_peak(precision: str, setting: Setting) -> int:
    """Peak memory of `edgewhisper transcribe` on one window of noise, in bytes."""
    recording = setting.work / "noise.wav"
    noise = np.random.default_rng(0).standard_normal(_WINDOW_SECONDS * _SAMPLE_RATE) * _LOUDNESS
    soundfile.write(recording, noise.astype(np.float32), _SAMPLE_RATE)
    return peak_of_command(transcription(setting.work, precision, recording, setting.threads))
