"""The engines that are compared: one window of random weights, greedy, without timestamps.

Each engine loads a checkpoint folder (transformers format) or what it converts from it, and offers the stages that every
one of them has. Their packages are imported only when an engine is used: they live in an environment of their own.
"""

from dataclasses import dataclass

from .common import Engine, split_device
from .faster_whisper import FasterWhisper
from .onnx_asr import OnnxAsr
from .openai_whisper import OpenAIWhisper
from .ours import EdgeWhisper, parse_form
from .pytorch import Optimum, OptimumInt8, Transformers
from .sherpa_onnx import SherpaOnnx
from .whisper_cpp import WhisperCpp

OURS = "edgewhisper"


@dataclass(frozen=True)
class EngineKind:
    """An engine at one precision.

    Attributes:
        engine: its class.
        precision: as `Engine` has it.
    """

    engine: type[Engine]
    precision: str

    @property
    def provider(self) -> str:
        """Where it computes, "cpu" or "cuda"; raises as `Form.provider`."""
        if self.engine is EdgeWhisper:
            return parse_form(self.precision).provider
        return split_device(self.precision)[1]


PEERS = {
    "transformers": EngineKind(Transformers, "fp32"),
    "transformers-bf16": EngineKind(Transformers, "bf16"),
    "transformers-int8": EngineKind(Transformers, "int8"),
    "transformers-cuda": EngineKind(Transformers, "fp32-cuda"),
    "transformers-fp16-cuda": EngineKind(Transformers, "fp16-cuda"),
    "transformers-bf16-cuda": EngineKind(Transformers, "bf16-cuda"),
    "openai-whisper": EngineKind(OpenAIWhisper, "fp32"),
    "openai-whisper-fp16-cuda": EngineKind(OpenAIWhisper, "fp16-cuda"),
    "optimum": EngineKind(Optimum, "fp32"),
    "optimum-int8": EngineKind(OptimumInt8, "int8"),
    "onnx-asr": EngineKind(OnnxAsr, "fp32"),
    "sherpa-onnx": EngineKind(SherpaOnnx, "fp32"),
    "sherpa-onnx-int8": EngineKind(SherpaOnnx, "int8"),
    "faster-whisper": EngineKind(FasterWhisper, "float32"),
    "faster-whisper-int8": EngineKind(FasterWhisper, "int8"),
    "faster-whisper-float16-cuda": EngineKind(FasterWhisper, "float16-cuda"),
    "whisper.cpp-f16": EngineKind(WhisperCpp, "f16"),
    "whisper.cpp-q8_0": EngineKind(WhisperCpp, "q8_0"),
    "whisper.cpp-q5_1": EngineKind(WhisperCpp, "q5_1"),
}


def engine_kind(name: str) -> EngineKind:
    """The engine of a name: one of `PEERS`, or "edgewhisper-" and what `parse_form` reads; KeyError for another."""
    if name.startswith(f"{OURS}-"):
        form = name.removeprefix(f"{OURS}-")
        parse_form(form)
        return EngineKind(EdgeWhisper, form)
    return PEERS[name]
