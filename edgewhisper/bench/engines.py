"""The engines that are compared: one window of random weights, greedy, without timestamps.

Each engine loads a checkpoint folder (transformers format) and offers the two stages that every one of them has.
"""

import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .contention import Timing, timed


class Engine(Protocol):
    """One way to run a Whisper checkpoint."""

    @staticmethod
    def convert(checkpoint: Path, work: Path) -> None:
        """Write what the engine loads into `work`, unless it is there; in another process than the one that measures."""
        ...

    def __init__(self, checkpoint: Path, work: Path, threads: int) -> None:
        """Load what `convert` wrote."""
        ...

    def encode(self, log_mel: NDArray[np.float32]) -> Timing:
        """Encode a window [n_mels, frames]; the result is kept for `decode`."""
        ...

    def decode(self, tokens: int) -> Timing:
        """Decode that many tokens after the prompt."""
        ...


class EdgeWhisper:
    """This project; `work` holds the artifact."""

    @staticmethod
    def convert(checkpoint: Path, work: Path) -> None:
        """Nothing to do."""

    def __init__(self, checkpoint: Path, work: Path, threads: int) -> None:
        from edgewhisper.artifact import load_manifest
        from edgewhisper.runtime.decoder import Decoder
        from edgewhisper.runtime.encoder import Encoder
        from edgewhisper.runtime.session import SessionSettings

        artifact = work / "artifact"
        self._manifest = load_manifest(artifact)
        settings = SessionSettings(threads=threads)
        self._decoder = Decoder(artifact, self._manifest, settings)
        self._encoder = Encoder(artifact, self._manifest, settings)

    def encode(self, log_mel: NDArray[np.float32]) -> Timing:
        self._decoder.release()
        self._cross = None  # one window at a time, as in a transcription
        with timed() as timing:
            self._cross = self._encoder.run(log_mel)
        return timing

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
        _check_length(len(decoded.tokens), tokens)
        return timing


class Transformers:
    """transformers on PyTorch, fp32."""

    @staticmethod
    def convert(checkpoint: Path, work: Path) -> None:
        """Nothing to do."""

    def __init__(self, checkpoint: Path, work: Path, threads: int) -> None:
        import torch
        from transformers import WhisperForConditionalGeneration

        torch.set_num_threads(threads)
        self._model = WhisperForConditionalGeneration.from_pretrained(checkpoint).eval()

    def encode(self, log_mel: NDArray[np.float32]) -> Timing:
        import torch

        self._features = torch.from_numpy(log_mel)[None]
        self._states = None
        with torch.inference_mode(), timed() as timing:
            self._states = self._model.model.encoder(self._features)
        return timing

    def decode(self, tokens: int) -> Timing:
        return _generate(self._model, self._features, self._states, tokens)


class Optimum:
    """optimum's ONNX export, fp32, on ONNX Runtime."""

    @staticmethod
    def convert(checkpoint: Path, work: Path) -> None:
        from optimum.onnxruntime import ORTModelForSpeechSeq2Seq

        if not (work / "optimum").exists():
            ORTModelForSpeechSeq2Seq.from_pretrained(checkpoint, export=True).save_pretrained(
                work / "optimum"
            )

    def __init__(self, checkpoint: Path, work: Path, threads: int) -> None:
        import onnxruntime
        from optimum.onnxruntime import ORTModelForSpeechSeq2Seq

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._model = ORTModelForSpeechSeq2Seq.from_pretrained(work / "optimum", session_options=options)

    def encode(self, log_mel: NDArray[np.float32]) -> Timing:
        import torch

        self._features = torch.from_numpy(log_mel)[None]
        self._states = None
        with timed() as timing:
            self._states = self._model.encoder(input_features=self._features, attention_mask=None)
        return timing

    def decode(self, tokens: int) -> Timing:
        return _generate(self._model, self._features, self._states, tokens)


class FasterWhisper:
    """faster-whisper's engine, CTranslate2, float32."""

    @staticmethod
    def convert(checkpoint: Path, work: Path) -> None:
        from ctranslate2.converters import TransformersConverter

        if not (work / "ctranslate2").exists():
            copied = ["tokenizer.json", "preprocessor_config.json"]
            TransformersConverter(str(checkpoint), copy_files=copied).convert(str(work / "ctranslate2"))

    def __init__(self, checkpoint: Path, work: Path, threads: int) -> None:
        import ctranslate2

        self._model = ctranslate2.models.Whisper(
            str(work / "ctranslate2"),
            device="cpu",
            compute_type="float32",
            inter_threads=1,
            intra_threads=threads,
        )
        self._prompt = [50257, 50362] if not self._model.is_multilingual else [50258, 50259, 50359, 50363]

    def encode(self, log_mel: NDArray[np.float32]) -> Timing:
        import ctranslate2

        features = ctranslate2.StorageView.from_array(np.ascontiguousarray(log_mel[None]))
        self._states = None
        with timed() as timing:
            self._states = self._model.encode(features)
        return timing

    def decode(self, tokens: int) -> Timing:
        length = 2 * tokens  # CTranslate2 generates at most half of it
        with timed() as timing:
            result = self._model.generate(self._states, [self._prompt], beam_size=1, max_length=length)
        _check_length(len(result[0].sequences_ids[0]), tokens)
        return timing


def _generate(model: Any, features: Any, states: Any, tokens: int) -> Timing:
    """transformers' generate over an encoder output; `features` only tells it the batch."""
    import torch

    with torch.inference_mode(), timed() as timing:
        ids = model.generate(
            features,
            encoder_outputs=states,
            max_new_tokens=tokens,
            do_sample=False,
            num_beams=1,
            return_timestamps=False,
        )
    _check_length(int(ids.shape[1]), tokens)
    return timing


def _check_length(found: int, wanted: int) -> None:
    """An engine that stopped early would look fast; prompt and end of text may be counted or not."""
    if not wanted <= found <= wanted + 5:
        raise RuntimeError(f"decoded {found} tokens instead of {wanted}")


ENGINES: dict[str, type[Engine]] = {
    "edgewhisper": EdgeWhisper,
    "transformers": Transformers,
    "optimum": Optimum,
    "faster-whisper": FasterWhisper,
}
