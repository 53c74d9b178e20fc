"""transformers on PyTorch, and optimum, which runs its own export of the same classes on ONNX Runtime."""

import platform
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgewhisper.atomic import atomic_folder
from edgewhisper.runtime.contention import Timing

from .common import check_length, check_pytorch, split_device, timed_by_pytorch


class Transformers:
    """transformers on PyTorch: fp32, fp16, bf16, or fp32 with linear layers in dynamic INT8."""

    packages: ClassVar[tuple[str, ...]] = ("transformers", "torch")

    _model: Any
    _device: str = "cpu"
    _dtype: Any = None  # of the features; None: as they are

    @staticmethod
    def convert(work: Path, precision: str) -> None:
        """Nothing to do."""

    def __init__(self, work: Path, precision: str, threads: int) -> None:
        import torch
        from transformers import WhisperForConditionalGeneration

        own, self._device = split_device(precision)
        check_pytorch(self._device)
        torch.set_num_threads(threads)
        self._model = WhisperForConditionalGeneration.from_pretrained(work / "checkpoint").eval()
        self._dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(own, torch.float32)
        self._model = self._model.to(self._device, self._dtype)
        if own == "int8":
            linear = {torch.nn.Linear}
            quantize: Any = torch.ao.quantization.quantize_dynamic
            self._model = quantize(self._model, linear, dtype=torch.qint8)

    def encode(self, log_mel: NDArray[np.float32]) -> Timing:
        import torch

        features = torch.from_numpy(log_mel)[None]
        self._states = None
        with torch.inference_mode(), timed_by_pytorch(self._device) as timing:
            self._features = features.to(self._device, self._dtype)
            self._states = self._encoder_output()
        return timing

    def first_step(self) -> Timing:
        """What `generate` does before its first step is in it."""
        return self.decode(1)

    def decode(self, tokens: int) -> Timing:
        import torch

        multilingual = getattr(self._model.generation_config, "is_multilingual", False)
        spoken = (
            {"language": "en", "task": "transcribe"} if multilingual else {}
        )  # else it listens for the language
        with torch.inference_mode(), timed_by_pytorch(self._device) as timing:
            ids = self._model.generate(
                self._features,  # tells it the batch
                **spoken,
                encoder_outputs=self._states,
                max_new_tokens=tokens,
                do_sample=False,
                num_beams=1,
                return_timestamps=False,
            )
        check_length(int(ids.shape[1]), tokens)
        return timing

    def step(self, tokens: int) -> None:
        return None

    def _encoder_output(self) -> Any:
        return self._model.model.encoder(self._features)


class Optimum(Transformers):
    """optimum's ONNX export, fp32, on ONNX Runtime."""

    packages: ClassVar[tuple[str, ...]] = ("optimum", "optimum-onnx", "onnxruntime")
    folder: ClassVar[str] = "optimum"

    @staticmethod
    def convert(work: Path, precision: str) -> None:
        from optimum.onnxruntime import ORTModelForSpeechSeq2Seq

        if not (work / Optimum.folder).exists():
            model = ORTModelForSpeechSeq2Seq.from_pretrained(work / "checkpoint", export=True)
            with atomic_folder(work / Optimum.folder) as temporary:
                model.save_pretrained(temporary)

    def __init__(self, work: Path, precision: str, threads: int) -> None:
        import onnxruntime
        import torch
        from optimum.onnxruntime import ORTModelForSpeechSeq2Seq

        torch.set_num_threads(1)  # it only carries what ONNX Runtime computes
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Each of its sessions has threads of its own, which would spin on the cores that the next session needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._model = ORTModelForSpeechSeq2Seq.from_pretrained(work / self.folder, session_options=options)

    def _encoder_output(self) -> Any:
        return self._model.encoder(input_features=self._features, attention_mask=None)


class OptimumInt8(Optimum):
    """The same, dynamically quantized with optimum's settings for this kind of processor."""

    folder: ClassVar[str] = "optimum-int8"

    @staticmethod
    def convert(work: Path, precision: str) -> None:
        from optimum.onnxruntime import AutoQuantizationConfig, ORTQuantizer

        Optimum.convert(work, precision)
        source, folder = work / Optimum.folder, work / OptimumInt8.folder
        if folder.exists():
            return
        arm = platform.machine() in ("aarch64", "arm64")
        preset = AutoQuantizationConfig.arm64 if arm else AutoQuantizationConfig.avx512_vnni
        settings = preset(is_static=False, per_channel=False)
        with atomic_folder(folder) as temporary:
            for graph in sorted(source.glob("*.onnx")):
                quantizer = ORTQuantizer.from_pretrained(source, file_name=graph.name)
                quantizer.quantize(save_dir=temporary, quantization_config=settings, file_suffix="")
            for file in source.glob("*.json"):
                shutil.copy(file, temporary)
