"""whisper.cpp itself, from the environment of `make bench`, with the files written for it."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgewhisper.bench.measure import write_checkpoint

PEERS_PYTHON = Path(".venv-baselines/bin/python")
TOKENS = 40
# Logits have a standard deviation of 7; half precision, in which whisper.cpp keeps activations, is far from exact.
TOLERATED = {"f16": 1.0, "q8_0": 1.5}

DECODE = """
import json, sys
from pathlib import Path
import numpy as np
from edgewhisper.bench.engines.whisper_cpp import WhisperCpp
work, precision, tokens = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
WhisperCpp.convert(work, precision)
engine = WhisperCpp(work, precision, 2)
engine.encode(np.load(work / "log_mel.npy"))
engine.decode(tokens)
ids = [engine._bindings.whisper_full_get_token_id(engine._context, 0, i) for i in range(tokens)]
Path(sys.argv[4]).write_text(json.dumps(ids))
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny.en")
    write_checkpoint("tiny.en", folder)
    noise = np.random.default_rng(0).standard_normal((80, 3000), np.float32)
    np.save(folder / "log_mel.npy", noise * np.float32(0.3))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(
    not PEERS_PYTHON.exists(), reason="`make bench` makes the environment of the other engines"
)
@pytest.mark.parametrize("precision", TOLERATED)
def test_whisper_cpp_decodes_what_transformers_finds_likely(work: Path, precision: str) -> None:
    import torch
    from transformers import WhisperForConditionalGeneration

    found = work / f"{precision}.json"
    command = [str(PEERS_PYTHON), "-c", DECODE, str(work), precision, str(TOKENS), str(found)]
    subprocess.run(command, check=True, capture_output=True)
    ids = json.loads(found.read_text())
    model = WhisperForConditionalGeneration.from_pretrained(work / "checkpoint").eval()
    prompt = [50257, 50362]  # <|startoftranscript|> <|notimestamps|>
    with torch.inference_mode():
        logits = model(
            torch.from_numpy(np.load(work / "log_mel.npy"))[None],
            decoder_input_ids=torch.tensor([[*prompt, *ids[:-1]]]),
        ).logits[0, 1:]
    text = logits[:, :50256]  # without end of text and special tokens
    shortfall = text.max(-1).values - text[torch.arange(TOKENS), torch.tensor(ids)]
    assert float(shortfall[1:].max()) < TOLERATED[precision]  # the first may not be blank
