"""Speech to text from an artifact."""

import contextlib
import functools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Integral
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import TOKENIZER, TOKENS, Manifest, draft_files, load_manifest
from edgewhisper.errors import ArtifactError, UsageError

from .audio import AudioStream, open_audio
from .batch import MOST, Batch, Transcript, batch_size, one_by_one
from .bpe import BytePairEncoder, read_encoder
from .decoder import Decoder
from .draft_loader import DraftLoader
from .encoder import Encoder
from .exactness import single_rows_are_exact, steps_are_exact
from .features import LogMelStream
from .memory_budget import needs_low_memory
from .options import DecodingOptions, Segment, Statistics, TranscriptionInfo, check_options
from .processor import target_mismatch
from .session import SessionSettings
from .state import DeviceState, state_folder
from .transcription import Model, Transcription
from .verification import verify_files
from .vocabulary import read_vocabulary

__all__ = ["DecodingOptions", "Segment", "Statistics", "Transcriber", "Transcript", "TranscriptionInfo"]

_LOG = logging.getLogger("edgewhisper")

Audio = str | os.PathLike[str] | BinaryIO | NDArray[np.generic] | AudioStream


class Transcriber:
    """A loaded artifact, ready to transcribe.

    Several transcriptions may go on at once, from several threads too: they take turns, window by window.

    Attributes:
        manifest: what the artifact says of itself.
    """

    def __init__(
        self,
        artifact: str | os.PathLike[str],
        provider: str = "cpu",
        threads: int | None = None,
        provider_options: Mapping[str, str] | None = None,
        verify: bool = False,
        low_memory: bool = False,
        max_ram: int | None = None,
    ) -> None:
        """Load an artifact.

        Args:
            artifact: its folder.
            provider: the execution provider, by short name: cpu, cuda, tensorrt, coreml, directml, openvino, xnnpack.
            threads: threads of one graph; None leaves the number to ONNX Runtime.
            provider_options: passed to the provider.
            verify: compare every file with its checksum, also those that were compared before on this device.
            low_memory: take the least memory, at the price of time.
            max_ram: bytes that the process may take; settings that fit are chosen. None: no limit.

        Raises:
            ArtifactError: missing, damaged, or written by a newer release.
            ProviderError: the provider is not there, or takes no node.
            UsageError: an unknown provider, options for a provider that has none, or no thread; an artifact that does not fit `max_ram`.
        """
        if provider == "cpu" and provider_options:
            names = ", ".join(provider_options)
            raise UsageError(f"provider options ({names}): the provider 'cpu' has none; leave them out")
        folder = Path(artifact)
        self.manifest: Manifest = load_manifest(folder, draft_may_lack=True)
        state = DeviceState(state_folder())
        unchecked = draft_files(self.manifest)  # checked when a draft is loaded
        files = (info for info in self.manifest.files if info.name not in unchecked)
        verify_files(folder, files, state, again=verify)
        vocabulary = read_vocabulary(folder / TOKENS, self.manifest.tokens.end_of_text)
        if len(vocabulary) < self.manifest.tokens.end_of_text:
            raise ArtifactError(
                f"{folder / TOKENS}: has {len(vocabulary)} tokens, too few; build the artifact again"
            )
        if max_ram is not None:
            low_memory = needs_low_memory(self.manifest, max_ram) or low_memory
        settings = SessionSettings(provider, threads, provider_options or {}, low_memory)
        if mismatch := target_mismatch(self.manifest.build.target, provider):
            _LOG.warning("%s: %s", folder, mismatch)
        self._folder, self._settings, self._max_ram, self._state = folder, settings, max_ram, state
        # The decoder first: while its weights are repacked they are there twice, and the encoder's are not there yet.
        decoder = Decoder(folder, self.manifest, settings)
        decoder.repeat_single_rows = not single_rows_are_exact(decoder, self.manifest, settings, state)
        self._decoder = decoder
        self._model = Model(
            load_draft=DraftLoader(folder, self.manifest, settings, decoder, state),
            encoder=Encoder(folder, self.manifest, settings),
            decoder=decoder,
            vocabulary=vocabulary,
            dimensions=self.manifest.dimensions,
            tokens=self.manifest.tokens,
            audio=self.manifest.audio,
            short_windows=self.manifest.model.short_windows,
        )

    @functools.cached_property
    def guesses_are_exact(self) -> bool:
        """Whether `DecodingOptions.hypothesis` cannot change a token here: steps of several tokens have the bits of single ones."""
        with self._model.lock:
            return steps_are_exact(self._decoder, self.manifest, self._settings, self._state)

    def transcribe(
        self,
        audio: Audio,
        options: DecodingOptions | None = None,
        *,
        sample_rate: int | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> tuple[Iterator[Segment], TranscriptionInfo]:
        """Transcribe one recording.

        The recording is opened, and its language detected where `options` does not give it, before this returns; the
        rest happens while the segments are taken.

        Args:
            audio: a path, a binary file object (also a pipe), samples [n] or [n, channels], or an open stream. A stream is
                closed after the last segment.
            options: how to decode; None for the defaults.
            sample_rate: of an array, in Hz; None is the model's. Only an array needs it.
            on_progress: called with the seconds transcribed so far, after each window.

        Returns:
            The segments that hold text, in order, each as soon as its window is decoded; and what is known of the
            recording, kept up to date while the segments are taken.

        Raises:
            AudioError: the recording cannot be read; also while the segments are taken.
            UsageError: an option that this model does not have, or a sample rate of what states its own.
        """
        options = options or DecodingOptions()
        check_options(options, self._model.tokens, self._model.dimensions)
        with contextlib.ExitStack() as resources:
            stream, transcription = self._open(audio, options, sample_rate, on_progress)
            resources.enter_context(stream)
            return _Segments(transcription.segments(), resources.pop_all()), transcription.info

    def transcribe_batch(
        self,
        audios: Iterable[Audio | Callable[[], AudioStream]],
        options: DecodingOptions | None = None,
        *,
        batch: int | Literal["auto"] = "auto",
        sample_rate: int | None = None,
        ordered: bool = True,
    ) -> Iterator[Transcript]:
        """Transcribe several recordings together: windows of all of them, and of one where its windows do not depend on each other
        (`timestamps` off), are decoded at once.

        Nothing is guessed meanwhile; see docs/batch.md for what is faster when. Texts are those of `transcribe`, but for tokens whose
        logits are equal within rounding.

        Args:
            audios: as `transcribe` takes them, or what opens a stream; opened when their turn comes.
            options: for all of them; the first temperature must be 0.
            batch: windows at once, 16 at most; "auto" are as many as fit `max_ram`, or half of the memory that is free, and one by one where
                there are no batches. Halved while memory does not suffice.
            sample_rate: of arrays, in Hz.
            ordered: whether a transcript waits for those of the recordings before it.

        Returns:
            A transcript of each recording, as soon as it is complete. A recording that cannot be read does not stop the others: its
            transcript has the error, and the segments before it.

        Raises:
            UsageError: options that this model does not have, or that windows cannot be decoded with together; a provider or an
                artifact without batches; one recording instead of several.
        """
        options = options or DecodingOptions()
        check_options(options, self._model.tokens, self._model.dimensions)
        single: object = audios
        if isinstance(single, (str, os.PathLike, np.ndarray)):
            raise UsageError("one recording given to transcribe_batch; put it into a list")
        given: object = batch
        if given != "auto" and (isinstance(given, bool) or not isinstance(given, Integral) or given < 1):
            raise UsageError(f"batch {batch!r}: must be auto, or a whole number of 1 or more")
        openers = (self._opener(audio, options, sample_rate) for audio in audios)
        reason = self._why_one_by_one(options)
        count = 1
        if reason is None:
            fitting = batch_size(self.manifest, self._max_ram)
            count = fitting if batch == "auto" else min(batch, fitting if self._max_ram else MOST)
        elif batch != "auto":
            raise UsageError(f"batch {batch}: {reason}; transcribe one by one")
        if count == 1:
            return one_by_one(openers)
        return Batch(self._model, self.manifest, self._decoder, options, count).run(openers, ordered)

    def _why_one_by_one(self, options: DecodingOptions) -> str | None:
        """Why there are no batches; None where there are."""
        graph = self.manifest.graph("decoder")
        if self._settings.provider != "cpu" or graph.ops != "fused":
            return "batches are for provider cpu and fused graphs"
        if graph.precision == "int8-dynamic" and not options.allow_inexact:
            return "one range is measured for all windows in dynamic INT8, so that texts would depend on each other"
        if options.temperatures[0] > 0:
            return "batches are decoded greedily, with temperature 0 first"
        if options.window != "full":
            return "windows of a batch are full ones"
        if not isinstance(options.speculate, str) or options.hypothesis is not None:
            return "nothing is guessed in batches"
        return None

    def _opener(
        self, audio: Audio | Callable[[], AudioStream], options: DecodingOptions, sample_rate: int | None
    ) -> Callable[[], tuple[AudioStream, Transcription]]:
        rate = sample_rate if isinstance(audio, np.ndarray) else None
        return lambda: self._open(audio, options, rate)

    def _open(
        self,
        audio: Audio | Callable[[], AudioStream],
        options: DecodingOptions,
        sample_rate: int | None,
        on_progress: Callable[[float], None] | None = None,
    ) -> tuple[AudioStream, Transcription]:
        started = time.perf_counter()
        if sample_rate is not None and not isinstance(audio, np.ndarray):
            raise UsageError("sample_rate is for arrays; a recording states its own, leave it out")
        prompt = options.initial_prompt or ()
        if isinstance(prompt, str):
            prompt = self._prompt_encoder.encode_prompt(prompt)
        model_rate = self.manifest.audio.sample_rate
        with contextlib.ExitStack() as resources:
            if isinstance(audio, AudioStream):
                stream = audio
            elif callable(audio):
                stream = audio()
            else:
                rate = model_rate if sample_rate is None else sample_rate
                stream = open_audio(audio, sample_rate=rate, target_rate=model_rate)
            resources.enter_context(stream)
            features = LogMelStream(stream, self.manifest.audio)
            transcription = Transcription(
                self._model, features, options, prompt=prompt, started=started, on_progress=on_progress
            )
            resources.pop_all()
            return stream, transcription

    @functools.cached_property
    def _prompt_encoder(self) -> BytePairEncoder:
        return read_encoder(self._folder / TOKENIZER)


class _Segments(Iterator[Segment]):
    """Segments, and what is freed after the last one or when nobody wants more.

    A generator would not do: one that was never started runs no `finally`, and the recording would stay open.
    """

    def __init__(self, segments: Iterator[Segment], resources: contextlib.ExitStack) -> None:
        self._segments = segments
        self._resources = resources

    def __next__(self) -> Segment:
        try:
            return next(self._segments)
        except BaseException:  # StopIteration too
            self.close()
            raise

    def close(self) -> None:
        """End here: there are no more segments."""
        self._segments = iter(())
        self._resources.close()

    def __del__(self) -> None:
        self._resources.close()
