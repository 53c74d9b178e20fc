"""faster-whisper's engine, CTranslate2."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from edgewhisper.atomic import atomic_folder
from edgewhisper.runtime.contention import Timing, timed

from .common import check_length, split_device

_ENGLISH_PROMPT = [50257, 50362]  # <|startoftranscript|> <|notimestamps|>
_MULTILINGUAL_PROMPT = [50258, 50259, 50359, 50363]  # ... <|en|> <|transcribe|> <|notimestamps|>


class FasterWhisper:
    """CTranslate2; the weights are stored in the precision that it computes with, as its published models may be."""

    packages: ClassVar[tuple[str, ...]] = ("faster-whisper", "ctranslate2")

    @staticmethod
    def convert(work: Path, precision: str) -> None:
        from ctranslate2.converters import TransformersConverter

        folder = _folder(work, precision)
        if not folder.exists():
            copied = ["tokenizer.json", "preprocessor_config.json"]
            converter = TransformersConverter(str(work / "checkpoint"), copy_files=copied)
            with atomic_folder(folder) as temporary:
                converter.convert(str(temporary), quantization=split_device(precision)[0], force=True)

    def __init__(self, work: Path, precision: str, threads: int) -> None:
        import ctranslate2

        own, device = split_device(precision)
        self._model = ctranslate2.models.Whisper(
            str(_folder(work, precision)),
            device=device,
            compute_type=own,
            inter_threads=1,
            intra_threads=threads,
        )
        self._prompt = _MULTILINGUAL_PROMPT if self._model.is_multilingual else _ENGLISH_PROMPT

    def encode(self, log_mel: NDArray[np.float32]) -> Timing:
        import ctranslate2

        features = ctranslate2.StorageView.from_array(np.ascontiguousarray(log_mel[None]))
        self._states = None
        with timed() as timing:  # on a GPU, too, it returns when the states are there
            self._states = self._model.encode(features)
        return timing

    def first_step(self) -> Timing:
        return self._generate(self._prompt[:1], 1)

    def decode(self, tokens: int) -> Timing:
        return self._generate(self._prompt, tokens)

    def step(self, tokens: int) -> None:
        return None

    def _generate(self, prompt: list[int], tokens: int) -> Timing:
        length = 2 * tokens  # CTranslate2 generates at most half of it
        with timed() as timing:
            result = self._model.generate(self._states, [prompt], beam_size=1, max_length=length)
        check_length(len(result[0].sequences_ids[0]), tokens)
        return timing


def _folder(work: Path, precision: str) -> Path:
    return work / f"ctranslate2-{split_device(precision)[0]}"
