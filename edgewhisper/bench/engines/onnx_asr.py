"""onnx-asr, which runs optimum's export with the merged decoder."""

import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgewhisper.atomic import atomic_folder
from edgewhisper.runtime.contention import Timing, timed

from .common import check_length

_ENGLISH_PROMPT = ("<|startoftranscript|>", "<|notimestamps|>")
_MULTILINGUAL_PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")


class OnnxAsr:
    """onnx-asr in fp32; it starts from log-mel frames here, as its own features cannot be left out otherwise."""

    packages: ClassVar[tuple[str, ...]] = ("onnx-asr", "onnxruntime")

    @staticmethod
    def convert(work: Path, precision: str) -> None:
        from optimum.exporters.onnx import main_export

        if _folder(work).exists():
            return
        with atomic_folder(_folder(work)) as temporary:
            main_export(
                str(work / "checkpoint"),
                temporary,
                task="automatic-speech-recognition-with-past",
                do_validation=False,
            )
            for name in ("vocab.json", "added_tokens.json"):
                shutil.copyfile(work / "checkpoint" / name, temporary / name)

    def __init__(self, work: Path, precision: str, threads: int) -> None:
        import onnxruntime
        from onnx_asr.models.whisper import WhisperHf

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Its two sessions have threads of their own, which would spin on the cores that the other one needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        folder = _folder(work)
        files = {
            "encoder": folder / "encoder_model.onnx",
            "decoder": folder / "decoder_model_merged.onnx",
            "vocab": folder / "vocab.json",
            "added_tokens": folder / "added_tokens.json",
            "config": folder / "config.json",
        }
        session = {"sess_options": options, "providers": ["CPUExecutionProvider"]}
        self._model: Any = WhisperHf(files, lambda name: _as_it_is, session)
        tokens = self._model._tokens
        names = (
            _MULTILINGUAL_PROMPT
            if "<|en|>" in tokens and tokens["<|en|>"] == _FIRST_LANGUAGE
            else _ENGLISH_PROMPT
        )
        self._prompt = np.array([[tokens[name] for name in names]], np.int64)

    def encode(self, log_mel: NDArray[np.float32]) -> Timing:
        features = np.ascontiguousarray(log_mel[None])
        self._states: Any = None
        with timed() as timing:
            self._states = self._model._encode(features, np.array([log_mel.shape[1]]))
        return timing

    def first_step(self) -> Timing:
        return self.decode(1)

    def decode(self, tokens: int) -> Timing:
        length = self._prompt.shape[1]
        with timed() as timing:
            ids = self._model._decoding(self._states, self._prompt, length + tokens)
        check_length(ids.shape[1] - length, tokens)
        return timing

    def step(self, tokens: int) -> None:
        return None


_FIRST_LANGUAGE = 50_259  # the id of <|en|> where the vocabulary is multilingual


def _as_it_is(
    features: NDArray[np.float32], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """In the place of the features that it computes."""
    return features, lengths


def _folder(work: Path) -> Path:
    return work / "onnx-asr"
