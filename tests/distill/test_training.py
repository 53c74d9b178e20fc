"""Training survives `kill -9`: what goes on afterwards is what would have come anyway."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from edgewhisper.distill.corpus import load
from edgewhisper.distill.demo import BUNDLE
from edgewhisper.distill.trainer import training_state

STEPS = 6

TRAIN = """
import sys
from pathlib import Path
from edgewhisper.distill import training, trainer
training.development_recordings = lambda: []
if __name__ == "__main__":
    corpus, tokenizer, directory, steps = sys.argv[1:]
    options = trainer.TrainingOptions(int(steps), log_every=1, save_every=2, evaluate_every=1000)
    training.train(Path(corpus), Path(tokenizer), Path(directory), options, processes=1)
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of noise with a few words, in the format of the real one."""
    directory = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    records = []
    for number in range(200):
        frames = 100 + number % 40
        words = [
            {"text": text, "start": 0.3 * i, "end": 0.3 * i + 0.3}
            for i, text in enumerate(["Turn", "it", "on."])
        ]
        records.append({
            "language": "en", "first": number * 200, "frames": frames, "padding": -1.0,
            "sentences": [words] if number % 7 else [],
        })  # fmt: skip
    np.save(directory / "000.npy", rng.standard_normal((200 * 200, 80)).astype(np.float16))
    (directory / "000.json").write_text(json.dumps(records))
    return directory


def start(corpus: Path, directory: Path) -> "subprocess.Popen[bytes]":
    script = directory.with_suffix(".py")
    script.write_text(TRAIN)
    return subprocess.Popen(
        [sys.executable, str(script), str(corpus), str(BUNDLE), str(directory), str(STEPS)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(path: Path, process: "subprocess.Popen[bytes]") -> None:
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.01)


@pytest.mark.slow
def test_training_killed_and_resumed_ends_where_uninterrupted_training_ends(
    corpus: Path, tmp_path: Path
) -> None:
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    assert start(corpus, whole).wait() == 0
    process = start(corpus, interrupted)
    wait_for(training_state(interrupted), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert torch.load(training_state(interrupted), weights_only=True)["step"] < STEPS
    assert start(corpus, interrupted).wait() == 0
    expected, resumed = (torch.load(training_state(run), weights_only=True) for run in (whole, interrupted))
    assert resumed["step"] == expected["step"] == STEPS
    for name, tensor in expected["model"].items():
        assert torch.equal(resumed["model"][name], tensor), name


def test_the_corpus_is_read_as_it_was_written(corpus: Path) -> None:
    recordings = load(corpus)
    assert len(recordings) == 200
    assert recordings[0].sentences == ()
    assert recordings[1].sentences[0].text == "Turn it on."
    assert recordings[3].features.frames.shape == (103, 80)
