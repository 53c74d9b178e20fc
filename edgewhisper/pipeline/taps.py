"""Graphs that give up what their layers compute: values inside a graph, fetched by name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgewhisper.errors import BuildError
from edgewhisper.runtime.onnxruntime_import import onnxruntime

from .feeds import Feed

if TYPE_CHECKING:
    import onnx_ir as ir

# Values fetched in one run: of base's encoder they would be 160 MB together.
_GROUP_BYTES = 64 * 2**20
_SUFFIXES = (".weight.T.scaled", ".weight.T", ".weight")


@dataclass(frozen=True)
class Tap:
    """A value to fetch.

    Attributes:
        layer: whose result it is; a layer that runs over the input in pieces has several.
        value: its name in the graph.
        width: of its last axis, where it is known, for an estimate of memory.
    """

    layer: str
    value: str
    width: int


def layer_taps(model: "ir.Model") -> list[Tap]:
    """The results of an fp32 graph's linear layers and convolutions, and its outputs."""
    from edgewhisper.quant.linear import linear_layers

    taps = []
    for node in model.graph:
        weight = node.inputs[1] if node.op_type == "Conv" and len(node.inputs) > 1 else None
        if weight is not None and weight.shape is not None and isinstance(weight.shape[0], int):
            taps.append(Tap(_layer_name(weight.name or ""), node.outputs[0].name or "", weight.shape[0]))
    for layer in linear_layers(model):
        taps.append(Tap(_layer_name(layer.name), layer.output.name or "", layer.shape[1]))
    return taps


def _layer_name(weight: str) -> str:
    return next((weight.removesuffix(suffix) for suffix in _SUFFIXES if weight.endswith(suffix)), weight)


def value_names(model: "ir.Model") -> set[str]:
    """The names of all values that nodes of a graph compute."""
    return {value.name or "" for node in model.graph for value in node.outputs}


class TappedGraph:
    """A graph file in ONNX Runtime, some of whose inner values can be fetched."""

    def __init__(self, path: Path, values: Sequence[str], *, repack: bool) -> None:
        """Load the graph.

        Args:
            path: of the graph file; weights files that it names lie beside it.
            values: the names of what will be fetched.
            repack: copy the weights into the order that products want; without, fp32 weights stay mapped, in half the memory.

        Raises:
            BuildError: ONNX Runtime cannot load it.
        """
        import onnx

        model = onnx.load_model(path, load_external_data=False)
        outputs = {value.name for value in model.graph.output}
        model.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in dict.fromkeys(values) if name not in outputs
        )
        runtime = onnxruntime()
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.enable_mem_pattern = False
        options.enable_cpu_mem_arena = False  # which would keep the memory of the largest window
        if not repack:
            options.add_session_config_entry("session.disable_prepacking", "1")
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(path.parent)
        )
        try:
            self._session: Any = runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
            line = next(iter(str(error).splitlines()), type(error).__name__)[:200]
            raise BuildError(
                f"{path.name}: ONNX Runtime cannot load it ({line}); nothing was written"
            ) from None

    def run(self, feed: Feed, values: Sequence[str]) -> list[NDArray[Any]]:
        """The values, for one input."""
        results: list[NDArray[Any]] = self._session.run(list(values), dict(feed))
        return results


def grouped(taps: Sequence[Tap], rows: int) -> Iterator[list[Tap]]:
    """The taps in groups that take little memory when each value has `rows` rows."""
    group: list[Tap] = []
    size = 0
    for tap in taps:
        group.append(tap)
        size += rows * tap.width * np.dtype(np.float32).itemsize
        if size > _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
