"""OpenVINO, an execution provider without ONNX Runtime's contrib operators, runs portable graphs.

It comes with a build of ONNX Runtime of its own, so this runs in an environment beside that of the tests.
"""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgewhisper.runtime.transcriber import Transcriber
from tests.conftest import BundledRecording
from tests.portable_artifacts import with_portable_graphs

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-openvino" / "bin" / "python"

TRANSCRIBE = """
import json, sys
from edgewhisper.runtime.transcriber import Transcriber

options = {"device_type": "CPU", "precision": "FP32"}
transcriber = Transcriber(sys.argv[1], "openvino", provider_options=options)
tokens = [[segment.tokens for segment in transcriber.transcribe(path)[0]] for path in sys.argv[2:]]
print(json.dumps(tokens))
"""
# This version of ONNX Runtime tells in a profile alone which provider ran a node.
ENCODE = """
import json, sys
import numpy as np, onnxruntime

options = onnxruntime.SessionOptions()
options.enable_profiling, options.profile_file_prefix = True, sys.argv[2]
provider = ("OpenVINOExecutionProvider", {"device_type": "CPU", "precision": "FP32"})
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=[provider])
shapes = {"batch": 1, "frames": 200, "sequence": 3, "positions": 100}
types = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
feeds = {i.name: np.zeros([shapes.get(d, d) for d in i.shape], types[i.type]) for i in session.get_inputs()}
if "seqlens_k" in feeds:
    feeds |= {"seqlens_k": np.array([2], np.int32), "total_sequence_length": np.array(3, np.int32)}
session.run(None, feeds)
events = json.load(open(session.end_profiling()))
print(json.dumps(sorted({e["args"]["provider"] for e in events if "provider" in e.get("args", {})})))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-openvino; `make test-all` makes it"),
]


@pytest.fixture(scope="module")
def portable(demo_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_portable_graphs(demo_artifact, tmp_path_factory.mktemp("openvino") / "demo")


def run(code: str, *arguments: str | Path) -> object:
    """What the code prints at last, from JSON."""
    done = subprocess.run(
        [PYTHON, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_text_is_that_of_the_fused_graphs_on_the_cpu(
    demo_artifact: Path, portable: Path, recordings: Sequence[BundledRecording]
) -> None:
    paths = [recording.path for recording in recordings]
    transcriber = Transcriber(demo_artifact, threads=2)
    expected = [[list(s.tokens) for s in transcriber.transcribe(path)[0]] for path in paths]
    assert any(expected)
    assert run(TRANSCRIBE, portable, *paths) == expected


@pytest.mark.parametrize("graph", ["encoder", "decoder"])
def test_openvino_takes_every_node(portable: Path, tmp_path: Path, graph: str) -> None:
    assert run(ENCODE, portable / f"{graph}.onnx", tmp_path / "profile") == ["OpenVINOExecutionProvider"]
