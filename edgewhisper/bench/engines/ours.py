"""This project."""

import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgewhisper.runtime.contention import Timing, timed

from .common import check_length

if TYPE_CHECKING:
    from edgewhisper.runtime.speculation.speculation import Draft, Speculation
    from edgewhisper.runtime.transcriber import Transcriber

# Where a step of several tokens is measured: in the middle of a text.
_LATE = 60
_STEPS = 20  # of one kind that are timed together, long enough to be timed


@dataclass(frozen=True)
class Form:
    """How an artifact is built and run.

    Attributes:
        artifact: one of `FORMS`, or an absolute path.
        build: options of `edgewhisper build`.
        low_memory: run with the least memory.
        acceptance: of a draft's tokens, imposed; None: greedy.
        on_gpu: run by CUDA, whatever the artifact was built for.
    """

    artifact: str
    build: tuple[str, ...]
    low_memory: bool = False
    acceptance: float | None = None
    on_gpu: bool = False

    @property
    def provider(self) -> str:
        """Of ONNX Runtime, "cpu" or "cuda"; an artifact that is given is run by what it was built for.

        Raises:
            ArtifactError: there is no such artifact.
        """
        from edgewhisper.artifact import load_manifest

        on_gpu = self.on_gpu if self.build else load_manifest(Path(self.artifact)).build.target == "cuda"
        return "cuda" if on_gpu else "cpu"


_BUILDS: dict[str, tuple[str, ...]] = {
    "fp32-portable": ("--precision", "fp32", "--ops", "portable"),
    "fp32-direct": ("--precision", "fp32", "--winograd", "off"),
    "fp32": ("--precision", "fp32"),
    "fp16": ("--precision", "fp16"),
    "int8-dynamic": ("--precision", "int8-dynamic"),
    "int8-weight": ("--precision", "int8-weight"),
    "int8": ("--precision", "int8"),
    "int4": ("--precision", "int4"),
    "int8-pruned": ("--precision", "int8", "--prune-heads", "0.25", "--prune-feed-forward", "0.25"),
    "int8-student": ("--precision", "int8"),
    "int8-heads": ("--precision", "int8", "--draft", "heads"),
    "fp16-cuda": ("--precision", "fp16", "--target", "cuda"),
    "fp16-cuda-heads": ("--precision", "fp16", "--target", "cuda", "--draft", "heads"),
}
# Forms on an NVIDIA GPU, and the artifact of each.
_ON_GPU = {
    "fp16-cuda": "fp16-cuda",
    "fp16-cuda-heads": "fp16-cuda-heads",
    "fp32-portable-cuda": "fp32-portable",
}
FORMS = tuple(dict.fromkeys((*_BUILDS, *_ON_GPU)))
STUDENT = "int8-student"  # of another checkpoint than the others
_LOW_MEMORY, _ACCEPTANCE = "-low-memory", "@"


def parse_form(name: str) -> Form:
    """One of `FORMS`, with "-low-memory" behind one for processors, or "@0.75" for speculation at that acceptance; or the absolute path
    of an artifact.

    Raises:
        KeyError: another name.
    """
    if Path(name).is_absolute():
        return Form(name, ())
    base, separator, rate = name.partition(_ACCEPTANCE)
    artifact, low_memory = base.removesuffix(_LOW_MEMORY), base.endswith(_LOW_MEMORY)
    on_gpu = artifact in _ON_GPU
    artifact = _ON_GPU.get(artifact, artifact)
    build = _BUILDS[artifact]
    try:
        acceptance = float(rate) if separator else None
    except ValueError:
        raise KeyError(name) from None
    if (acceptance is not None and not 0 <= acceptance <= 1) or (on_gpu and low_memory):
        raise KeyError(name)
    return Form(artifact, build, low_memory, acceptance, on_gpu)


class EdgeWhisper:
    """The runtime, as a transcription uses it: two rows a step where the device needs them for exactness."""

    packages: ClassVar[tuple[str, ...]] = ("edgewhisper", "onnxruntime")

    @staticmethod
    def convert(work: Path, precision: str) -> None:
        from edgewhisper.runtime.session import check_provider

        form, artifact = parse_form(precision), artifact_folder(work, precision)
        check_provider(form.provider)
        if form.build and not artifact.exists():
            # Checks of accuracy say nothing about random weights.
            options = [*form.build, "--gate", "off", "--no-parity"]
            checkpoint = _student(work) if form.artifact == STUDENT else work / "checkpoint"
            command = ["-m", "edgewhisper", "build", str(checkpoint), "-o", str(artifact), *options]
            build = subprocess.run([sys.executable, *command], check=False)
            sys.exit(build.returncode)

    def __init__(self, work: Path, precision: str, threads: int) -> None:
        from edgewhisper.artifact import load_manifest
        from edgewhisper.errors import UsageError
        from edgewhisper.runtime.decoder import Decoder
        from edgewhisper.runtime.draft_loader import DraftLoader
        from edgewhisper.runtime.encoder import Encoder
        from edgewhisper.runtime.exactness import single_rows_are_exact
        from edgewhisper.runtime.session import SessionSettings
        from edgewhisper.runtime.state import DeviceState, state_folder

        self._form, artifact = parse_form(precision), artifact_folder(work, precision)
        self._artifact, self._threads = artifact, threads
        self._transcriber: Transcriber | None = None  # for recordings
        self._manifest = load_manifest(artifact)
        self._provider = self._form.provider
        settings = SessionSettings(self._provider, threads, low_memory=self._form.low_memory)
        state = DeviceState(state_folder())
        self._decoder = Decoder(artifact, self._manifest, settings)
        self._decoder.repeat_single_rows = not single_rows_are_exact(
            self._decoder, self._manifest, settings, state
        )
        self._encoder = Encoder(artifact, self._manifest, settings)
        self._draft: Draft | None = None
        if self._form.acceptance is not None:
            self._draft = DraftLoader(artifact, self._manifest, settings, self._decoder, state)(True)
            if self._draft is None:
                raise UsageError(
                    f"{artifact}: has no draft that works here; take a form with one, such as int8-heads"
                )
        self._text: tuple[int, ...] = ()  # of the window, by greedy decoding
        # Windows that were decoded with guesses, and of them, those with that text.
        self._guessed = self._same = 0

    @property
    def same_text(self) -> float | None:
        """The share of windows decoded with guesses that have the text of greedy decoding; None before there is one."""
        return self._same / self._guessed if self._guessed else None

    def encode(self, log_mel: NDArray[np.float32]) -> Timing:
        self._decoder.release()
        self._cross = None  # one window at a time, as in a transcription
        with timed() as timing:
            self._cross = self._encoder.run(log_mel)
            # What stays on a GPU may come later; logits, which end every other stage, are in the processor's memory.
            self._decoder.session.io_binding().synchronize_outputs()
        return timing

    def first_step(self) -> None:
        return None

    def decode(self, tokens: int) -> Timing:
        if self._draft is None:
            found, timing = self._decode(tokens, None)
        else:
            if len(self._text) != tokens:
                self._text, _ = self._decode(tokens, None)
            found, timing = self._decode(tokens, self._speculation())
            if tokens > 1:  # before the first one, nothing is guessed
                self._guessed += 1
                self._same += found == self._text
            # A GPU may compute several rows with other last bits.
            if found != self._text and self._provider == "cpu":
                raise RuntimeError("the text changed under speculation")
        check_length(len(found), tokens)
        return timing

    def _speculation(self) -> "Speculation":
        from edgewhisper.bench.speculation import ImposedAcceptance
        from edgewhisper.runtime.options import SpeculationStatistics
        from edgewhisper.runtime.speculation.controller import AdaptiveLength
        from edgewhisper.runtime.speculation.speculation import Speculation

        assert self._draft is not None
        assert self._form.acceptance is not None
        end = self._manifest.tokens.end_of_text
        drafter = ImposedAcceptance(self._draft.drafter(), self._text, end, self._form.acceptance)
        return Speculation(drafter, AdaptiveLength(self._draft.costs), SpeculationStatistics())

    def _decode(self, tokens: int, speculation: "Speculation | None") -> tuple[tuple[int, ...], Timing]:
        from edgewhisper.runtime.decoding import DecodingLoop
        from edgewhisper.runtime.options import DecodingOptions, Statistics
        from edgewhisper.runtime.prompt import start_sequence
        from edgewhisper.runtime.rules import rules_for

        options, ids = DecodingOptions(timestamps=False, language=self._language()), self._manifest.tokens
        if not self._manifest.model.random_weights:  # a trained model would stop at once, as it hears noise
            ids = replace(ids, suppress=(*ids.suppress, ids.end_of_text))
        loop = DecodingLoop(
            self._decoder,
            ids,
            rules_for(options, ids, self._manifest.audio),
            max_tokens=tokens,
            statistics=Statistics(),
            started=time.perf_counter(),
            speculation=speculation,
        )
        prompt = start_sequence(options, ids, self._language() or "en")
        with timed() as timing:
            decoded = loop.run(loop.prefill(self._cross, prompt), 0.0, np.random.default_rng(0))
        return decoded.tokens, timing

    def _language(self) -> str | None:
        languages = self._manifest.tokens.languages
        return "en" if "en" in languages else next(iter(languages), None)

    def clip(self, path: Path, tokens: int) -> Timing:
        """From a file to its text, `tokens` in each window."""
        from edgewhisper.runtime.options import DecodingOptions
        from edgewhisper.runtime.transcriber import Transcriber

        if self._transcriber is None:
            self._transcriber = Transcriber(
                self._artifact, self._provider, self._threads, low_memory=self._form.low_memory
            )
        options = DecodingOptions(
            timestamps=False, language=self._language(), temperature=0.0, max_tokens=tokens, speculate="off",
            no_speech_threshold=None,
        )  # fmt: skip
        with timed() as timing:
            for _ in self._transcriber.transcribe(path, options)[0]:
                pass
        return timing

    def step(self, tokens: int) -> Timing | None:
        """The mean of some steps at the same place, each rolled back."""
        assert self._cross is not None
        self._decoder.reset(self._cross)
        self._decoder.run(range(_LATE), _LATE - 1)
        with timed() as timing:
            for _ in range(_STEPS):
                self._decoder.rollback(_LATE)
                self._decoder.run(range(tokens))
        timing.seconds /= _STEPS
        return timing


def _student(work: Path) -> Path:
    """The folder of the student that distillation would begin with."""
    from edgewhisper.atomic import atomic_folder
    from edgewhisper.models.reader import read_checkpoint
    from edgewhisper.models.student import initial_student, usual_layers, write_student

    folder = work / "student"
    if not folder.exists():
        checkpoint = read_checkpoint(work / "checkpoint")
        with atomic_folder(folder) as temporary:
            write_student(checkpoint, initial_student(checkpoint, usual_layers(checkpoint)), temporary)
    return folder


def artifact_folder(work: Path, precision: str) -> Path:
    """Where the artifact of a form lies."""
    artifact = parse_form(precision).artifact
    return Path(artifact) if Path(artifact).is_absolute() else work / f"artifact-{artifact}"


def transcription(work: Path, precision: str, recording: Path, threads: int) -> list[str]:
    """The command that transcribes a recording, greedily and without timestamps."""
    form, artifact = parse_form(precision), artifact_folder(work, precision)
    command = [sys.executable, "-m", "edgewhisper", "transcribe", str(recording), "-a", str(artifact)]
    command += ["--no-timestamps", "--temperature", "0", "--speculate", "off", "--threads", str(threads)]
    command += ["--provider", form.provider]
    return [*command, "--low-memory"] if form.low_memory else command
