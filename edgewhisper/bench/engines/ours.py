"""This project."""

import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from edgewhisper.runtime.contention import Timing, timed

from .common import check_length

# Of a precision: the same artifact, run with the least memory.
_LOW_MEMORY = "-low-memory"
# Where a step of several tokens is measured: in the middle of those between which a token's time is taken.
_LATE = 100


class EdgeWhisper:
    """The runtime, as a transcription uses it: two rows a step where the device needs them for exactness."""

    packages: ClassVar[tuple[str, ...]] = ("edgewhisper", "onnxruntime")

    @staticmethod
    def convert(work: Path, precision: str) -> None:
        artifact = artifact_folder(work, precision)
        if not artifact.exists():
            # Checks of accuracy say nothing about random weights.
            options = ["--precision", precision.removesuffix(_LOW_MEMORY), "--gate", "off", "--no-parity"]
            command = ["-m", "edgewhisper", "build", str(work / "checkpoint"), "-o", str(artifact), *options]
            build = subprocess.run([sys.executable, *command], check=False)
            sys.exit(build.returncode)

    def __init__(self, work: Path, precision: str, threads: int) -> None:
        from edgewhisper.artifact import load_manifest
        from edgewhisper.runtime.decoder import Decoder
        from edgewhisper.runtime.encoder import Encoder
        from edgewhisper.runtime.exactness import single_rows_are_exact
        from edgewhisper.runtime.session import SessionSettings
        from edgewhisper.runtime.state import DeviceState, state_folder

        artifact = artifact_folder(work, precision)
        self._manifest = load_manifest(artifact)
        settings = SessionSettings(threads=threads, low_memory=precision.endswith(_LOW_MEMORY))
        self._decoder = Decoder(artifact, self._manifest, settings)
        self._decoder.repeat_single_rows = not single_rows_are_exact(
            self._decoder, self._manifest, settings, DeviceState(state_folder())
        )
        self._encoder = Encoder(artifact, self._manifest, settings)

    def encode(self, log_mel: NDArray[np.float32]) -> Timing:
        self._decoder.release()
        self._cross = None  # one window at a time, as in a transcription
        with timed() as timing:
            self._cross = self._encoder.run(log_mel)
        return timing

    def first_step(self) -> None:
        return None

    def decode(self, tokens: int) -> Timing:
        from edgewhisper.runtime.decoding import DecodingLoop
        from edgewhisper.runtime.options import DecodingOptions, Statistics
        from edgewhisper.runtime.prompt import start_sequence
        from edgewhisper.runtime.rules import rules_for

        options = DecodingOptions(
            timestamps=False, language="en" if self._manifest.tokens.languages else None
        )
        rules = rules_for(options, self._manifest.tokens, self._manifest.audio)
        loop = DecodingLoop(
            self._decoder,
            self._manifest.tokens,
            rules,
            max_tokens=tokens,
            statistics=Statistics(),
            started=time.perf_counter(),
        )
        prompt = start_sequence(options, self._manifest.tokens, "en")
        with timed() as timing:
            decoded = loop.run(loop.prefill(self._cross, prompt), 0.0, np.random.default_rng(0))
        check_length(len(decoded.tokens), tokens)
        return timing

    def step(self, tokens: int) -> Timing | None:
        """The mean of some steps at the same place, each rolled back."""
        repetitions = 20  # long enough to be timed
        assert self._cross is not None
        self._decoder.reset(self._cross)
        self._decoder.run(range(_LATE), _LATE - 1)
        with timed() as timing:
            for _ in range(repetitions):
                self._decoder.rollback(_LATE)
                self._decoder.run(range(tokens))
        timing.seconds /= repetitions
        return timing


def artifact_folder(work: Path, precision: str) -> Path:
    """Where the artifact of a precision lies."""
    return work / f"artifact-{precision.removesuffix(_LOW_MEMORY)}"


def transcription(work: Path, precision: str, recording: Path, threads: int) -> list[str]:
    """The command that transcribes a recording, greedily and without timestamps."""
    artifact = artifact_folder(work, precision)
    command = [sys.executable, "-m", "edgewhisper", "transcribe", str(recording), "-a", str(artifact)]
    command += ["--no-timestamps", "--temperature", "0", "--threads", str(threads)]
    return [*command, "--low-memory"] if precision.endswith(_LOW_MEMORY) else command
