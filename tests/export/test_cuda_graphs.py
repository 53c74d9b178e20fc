"""Graphs for CUDA, judged without a GPU: which provider runs each node follows from operators and types."""

from collections.abc import Iterator

import onnx_ir as ir
import pytest

from edgewhisper.quant.half import convert_to_fp16
from tests.export.cuda_kernels import CUDA_KERNELS, HOST_INPUTS, INTEGER_OPERATORS
from tests.small_models import export, random_checkpoint

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
Types = dict[ir.Value, ir.DataType]


@pytest.fixture(scope="module", params=["encoder", "decoder"])
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ir.Graph:
    folder = tmp_path_factory.mktemp("graphs")
    export(random_checkpoint(), folder)
    model = ir.load(folder / f"{request.param}.onnx")
    convert_to_fp16(model, "cuda")
    return model.graph


def value_types(graph: ir.Graph) -> Types:
    """The type of every value: most operators give what their first input has."""
    types = {value: value.dtype for value in (*graph.inputs, *graph.initializers.values()) if value.dtype}
    for node in graph:
        match node.op_type:
            case "Cast":
                result = ir.DataType(node.attributes.get_int("to"))
            case "Shape":
                result = ir.DataType.INT64
            case "Equal":
                result = ir.DataType.BOOL
            case _:
                first = node.inputs[0]
                assert first is not None
                result = types[first]
        types.update(dict.fromkeys(node.outputs, result))
    return types


def on_the_gpu(graph: ir.Graph, types: Types) -> Iterator[ir.Node]:
    for node in graph:
        first = node.inputs[0]
        if node.op_type != "Shape" and first is not None and types[first] in FLOATS:
            yield node


def test_every_node_that_computes_has_a_kernel_for_its_types(graph: ir.Graph) -> None:
    types = value_types(graph)
    nodes = list(on_the_gpu(graph, types))
    assert len(nodes) > 20
    for node in nodes:
        first = node.inputs[0]
        assert first is not None
        assert types[first].name in CUDA_KERNELS[node.domain, node.op_type], node.name


def test_other_nodes_compute_lengths_and_positions(graph: ir.Graph) -> None:
    computing = {*on_the_gpu(graph, value_types(graph))}
    assert {node.op_type for node in graph if node not in computing} <= INTEGER_OPERATORS


def test_nothing_is_copied_between_host_and_gpu_per_layer(graph: ir.Graph) -> None:
    """What integers the kernels read on the GPU is made once and read by every layer; no float comes from the host."""
    types = value_types(graph)
    computing = {*on_the_gpu(graph, types)}
    copied = {
        value.name
        for node in computing
        for index, value in enumerate(node.inputs)
        if value is not None
        and value.const_value is None
        and types[value] not in FLOATS
        and index not in HOST_INPUTS.get((node.domain, node.op_type), set())
    }
    assert len(copied) <= 2, copied  # positions, and lengths for attention
    for node in graph:
        if node not in computing and node.op_type != "Shape":
            assert not any(value is not None and types[value] in FLOATS for value in node.inputs), node.name


def test_weights_activations_and_caches_are_half_precision(graph: ir.Graph) -> None:
    types = value_types(graph)
    assert not any(types[value] == ir.DataType.FLOAT for value in graph.initializers.values())
    kept = [v for v in (*graph.inputs, *graph.outputs) if str(v.name).startswith(("past_", "present_"))]
    assert kept
    assert all(types[value] == ir.DataType.FLOAT16 for value in kept)
    single = [node.op_type for node in graph for v in node.outputs if types[v] == ir.DataType.FLOAT]
    assert set(single) <= {"Cast"}  # of the logits alone, the graph's edge


def test_attention_is_in_forms_with_flash_kernels(graph: ir.Graph) -> None:
    """Without a mask or a bias, which ONNX Runtime's flash kernels for CUDA do not take."""
    attentions = [node for node in graph if node.op_type in ("MultiHeadAttention", "GroupQueryAttention")]
    assert attentions
    for node in attentions:
        if node.op_type == "MultiHeadAttention":
            assert not any(node.inputs[3:])
        else:
            assert not any(node.inputs[7:])
