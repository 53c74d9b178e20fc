"""The parity check in processes of their own: PyTorch, and graphs while they load, take memory that the build would not give back.

`python -m edgewhisper.pipeline.parity_process STAGE FOLDER` runs one stage over files in FOLDER.
"""

import ctypes
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgewhisper import errors
from edgewhisper.artifact import Manifest, ModelDimensions, ModelInfo, TokenIds, parse_json
from edgewhisper.errors import BuildError, EdgeWhisperError
from edgewhisper.models.checkpoint import Checkpoint, Vocabulary
from edgewhisper.models.safetensors_file import open_safetensors, write_safetensors
from edgewhisper.models.stored_tensors import LazyTensors

from .parity import Expected, ParityReport, compute_expected, decoder_calls, measure_parity

_TENSORS = "reference.safetensors"
_CHECKPOINT = "reference.json"
_ARRAYS = "reference.npz"
_VERSIONS = "versions.json"
_GRAPHS = "graphs.json"
_ANSWER = "answer.json"
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def run_reference(checkpoint: Checkpoint, folder: Path) -> None:
    """Write what PyTorch makes of the fixed input, for `compare_graphs`.

    Args:
        checkpoint: the model.
        folder: for files that the process exchanges; it must exist, and may be removed afterwards.

    Raises:
        MissingDependencyError: PyTorch or transformers is installed but does not load.
        BuildError: the process ended early, for want of memory for example.
    """
    shapes = {name: tuple(array.shape) for name, array in checkpoint.tensors.items()}
    write_safetensors(folder / _TENSORS, shapes, lambda name: checkpoint.tensors[name])
    description = {
        key: dataclasses.asdict(getattr(checkpoint, key)) for key in ("model", "dimensions", "token_ids")
    }
    (folder / _CHECKPOINT).write_text(json.dumps(description), encoding="utf-8")
    _run("reference", folder)


def compare_graphs(graphs: Path, manifest: Manifest, folder: Path) -> ParityReport:
    """Compare the graphs in a folder with what `run_reference` left in `folder`.

    Raises:
        BuildError: the process ended early.
    """
    description = {"folder": str(graphs), "manifest": manifest.to_json()}
    (folder / _GRAPHS).write_text(json.dumps(description), encoding="utf-8")
    report: ParityReport = parse_json(ParityReport, _run("compare", folder), _ANSWER)
    return report


def _run(stage: str, folder: Path) -> dict[str, Any]:
    """Run a stage; returns its answer, or raises the error that it answers with."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, stage, str(folder)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, messages = process.communicate()
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if process.returncode:
        reason = f"exit code {process.returncode}"
        if process.returncode < 0:
            reason = f"{signal.Signals(-process.returncode).name}, perhaps for want of memory"
        last = next(iter(reversed(messages.strip().splitlines())), "")
        raise BuildError(
            f"the comparison with PyTorch ended early ({': '.join(filter(None, (reason, last)))}); build with --no-parity"
        )
    answer: dict[str, Any] = json.loads((folder / _ANSWER).read_bytes())
    if "error" in answer:
        raise getattr(errors, answer["error"])(answer["message"])
    return answer


def _reference(folder: Path) -> dict[str, Any]:
    """The stage that runs PyTorch."""
    description = json.loads((folder / _CHECKPOINT).read_bytes())
    kinds = {"model": ModelInfo, "dimensions": ModelDimensions, "token_ids": TokenIds}
    parts = {key: parse_json(kind, description[key], _CHECKPOINT) for key, kind in kinds.items()}
    tensors = LazyTensors(open_safetensors(folder / _TENSORS))
    expected = compute_expected(Checkpoint(vocabulary=Vocabulary((), b""), tensors=tensors, **parts))
    arrays: dict[str, Any] = {
        "log_mel": expected.log_mel,
        "tokens": np.array(expected.tokens),
        "rows": np.array(list(expected.logits)),
        "logits": np.stack(list(expected.logits.values())),
    }
    arrays |= expected.cross_kv
    np.savez(folder / _ARRAYS, **arrays)
    (folder / _VERSIONS).write_text(json.dumps(dict(expected.versions)), encoding="utf-8")
    return {}


def _compare(folder: Path) -> dict[str, Any]:
    """The stage that runs the graphs."""
    description = json.loads((folder / _GRAPHS).read_bytes())
    manifest = parse_json(Manifest, json.loads(description["manifest"]), _GRAPHS)
    versions = json.loads((folder / _VERSIONS).read_bytes())
    with np.load(folder / _ARRAYS) as arrays:
        tokens = arrays["tokens"].tolist()
        expected = Expected(
            versions,
            arrays["log_mel"],
            tokens,
            decoder_calls(len(tokens)),
            {name: arrays[name] for name in arrays.files if name.startswith("past_")},
            dict(zip(arrays["rows"].tolist(), arrays["logits"], strict=True)),
        )
    return dataclasses.asdict(measure_parity(Path(description["folder"]), manifest, expected))


def main() -> None:
    """The child: an error that a user can meet goes to the parent as an answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this process
    if sys.platform == "linux":  # so does a parent that is killed
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    stage, folder = sys.argv[1], Path(sys.argv[2])
    try:
        answer = _reference(folder) if stage == "reference" else _compare(folder)
    except EdgeWhisperError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    (folder / _ANSWER).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
