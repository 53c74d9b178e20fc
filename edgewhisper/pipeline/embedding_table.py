"""Where the token embedding lies after the passes: the runtime reads its rows from the weights file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgewhisper.artifact import TensorLocation
from edgewhisper.errors import BuildError

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgewhisper.export.weights import WeightsWriter

    from .options import Precision


@dataclass(frozen=True)
class EmbeddingLocations:
    """The table and, where it is quantized, its scales."""

    values: TensorLocation
    scales: TensorLocation | None = None


def table_name(model: "ir.Model", location: TensorLocation) -> str | None:
    """The name of the fp32 table in a graph, from its place in the weights file; None where the graph does not use it."""
    import onnx_ir as ir

    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if (
            isinstance(tensor, ir.ExternalTensor)
            and tensor.offset == location.offset
            and Path(tensor.location).name == location.file
        ):
            return name
    return None


def write_embedding(
    folder: Path, location: TensorLocation, precision: "Precision", weights: "WeightsWriter"
) -> EmbeddingLocations:
    """Write a table that no output head is: of rows for the input alone.

    Args:
        folder: holds the fp32 file of the table.
        location: of the table there.
        precision: of the graph; an integer one takes INT8 rows.
        weights: where it goes.
    """
    from edgewhisper.quant.table import quantize_rows

    name = f"embedding.{location.offset}"
    table = np.memmap(folder / location.file, np.float32, "r", location.offset, location.shape)
    if precision in ("fp32", "fp16"):
        dtype = np.float32 if precision == "fp32" else np.float16
        weights.tensor(name, lambda: table.astype(dtype))
        return EmbeddingLocations(weights.location(name))
    rows, scales = quantize_rows(table, np.iinfo(np.int8).max)
    weights.tensor(name, lambda: rows)
    weights.tensor(f"{name}.scale", lambda: scales)
    return EmbeddingLocations(weights.location(name), weights.location(f"{name}.scale"))


def locate_embedding(
    model: "ir.Model", table: str, weights: "WeightsWriter", width: int
) -> EmbeddingLocations:
    """Find what became of the table, which the output head reads.

    Args:
        model: the decoder, written.
        table: the name of the fp32 table [vocab_size, width].
        weights: the file that it was written to.
        width: of a row.

    Raises:
        BuildError: no constant of the graph has the table's values row by row.
    """
    if table in model.graph.initializers:
        return EmbeddingLocations(weights.location(table))
    for node in model.graph:
        names = [value.name or "" for value in node.inputs if value is not None and value.is_initializer()]
        derived = [name for name in names if name.startswith(f"{table}.")]
        if len(derived) < 2:
            continue
        values, scales = derived[:2]
        location = weights.location(values)
        if node.op_type == "MatMulNBits":
            location = _in_blocks(location, node, width)
        return EmbeddingLocations(location, weights.location(scales))
    raise BuildError(f"graph '{model.graph.name}': the embedding table '{table}' is not to be found")


def _in_blocks(location: TensorLocation, node: "ir.Node", width: int) -> TensorLocation:
    """MatMulNBits stores bytes [vocab_size, blocks, bytes of a block]; the manifest counts values."""
    bits, block_size = (node.attributes[name].as_int() for name in ("bits", "block_size"))
    shape = (location.shape[0], -(-width // block_size), block_size)
    return TensorLocation(location.file, location.offset, "uint4" if bits == 4 else "uint8", shape)
