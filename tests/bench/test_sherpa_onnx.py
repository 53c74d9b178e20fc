"""The graphs written for sherpa-onnx against transformers, and sherpa-onnx itself, from the environment of `make bench`, with them."""

import base64
import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edgewhisper.bench.engines.sherpa_onnx import SherpaOnnx
from edgewhisper.bench.measure import write_checkpoint
from edgewhisper.bench.workers import Contestant, Setting, Worker
from edgewhisper.models.generation import find_token_ids
from edgewhisper.models.random_weights import write_random_folder
from edgewhisper.models.reader import read_checkpoint
from tests.conftest import BundledRecording
from tests.models.checkpoint_files import SMALL, small_vocabulary

PEERS_PYTHON = Path(".venv-baselines/bin/python")
with_sherpa = pytest.mark.skipif(
    not PEERS_PYTHON.exists(), reason="`make bench` makes the environment of the other engines"
)
# PyTorch's exporter by tracing is deprecated; what it traces is as long as the example on purpose.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore::UserWarning:torch.onnx.*"
)

TOKENS = 9
DIMS = replace(SMALL, decoder_layers=2)
Graphs = dict[str, Any]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint of random weights that stops after TOKENS tokens, converted."""
    folder = tmp_path_factory.mktemp("sherpa")
    vocabulary = small_vocabulary()
    ids = find_token_ids(vocabulary.tokens, multilingual=True, source="small")
    write_random_folder(folder / "checkpoint", DIMS, vocabulary, ids, tokens=TOKENS)
    for precision in ("int8", "fp32"):
        SherpaOnnx.convert(folder, precision)
    return folder


@pytest.fixture(scope="module")
def reference(work: Path) -> Any:
    from transformers import WhisperForConditionalGeneration

    return WhisperForConditionalGeneration.from_pretrained(work / "checkpoint").eval()


def graphs(work: Path, precision: str) -> Graphs:
    import onnxruntime

    folder = work / f"sherpa-onnx-{precision}"
    return {
        name: onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for name in ("encoder", "decoder")
    }


def log_mel(frames: int) -> NDArray[np.float32]:
    noise: NDArray[np.float32] = np.random.default_rng(0).standard_normal(
        (1, DIMS.n_mels, frames), np.float32
    )
    return noise * np.float32(0.3)


def prompt_of(work: Path, language: str = "en") -> tuple[list[int], int]:
    """The prompt without timestamps, and end of text."""
    ids = read_checkpoint(work / "checkpoint").token_ids
    assert ids.transcribe is not None
    prompt = [ids.start_of_transcript, ids.languages[language], ids.transcribe, ids.no_timestamps]
    return prompt, ids.end_of_text


def decode(
    found: Graphs, window: NDArray[np.float32], prompt: Sequence[int], end: int
) -> tuple[list[int], Any]:
    """Greedily, as sherpa-onnx uses the graphs: the tokens, and the logits [1, prompt and tokens, vocabulary]."""
    keys, values = found["encoder"].run(None, {"mel": window})
    cache = np.zeros((DIMS.decoder_layers, 1, DIMS.max_target_positions, DIMS.d_model), np.float32)
    caches, offset, tokens = (cache, cache), 0, [*prompt]
    text: list[int] = []
    logits = []
    while not text or text[-1] != end:
        step, *caches = found["decoder"].run(
            None,
            {
                "tokens": np.array([tokens]),
                "in_n_layer_self_k_cache": caches[0],
                "in_n_layer_self_v_cache": caches[1],
                "n_layer_cross_k": keys,
                "n_layer_cross_v": values,
                "offset": np.array([offset]),
            },
        )
        offset += len(tokens)
        logits.append(step)
        tokens = [int(step[0, -1].argmax())]
        text += tokens
    return text[:-1], np.concatenate(logits, axis=1)


def test_the_graphs_compute_what_transformers_does(work: Path, reference: Any) -> None:
    import torch

    window = log_mel(2 * DIMS.max_source_positions)
    prompt, end = prompt_of(work)
    text, logits = decode(graphs(work, "fp32"), window, prompt, end)
    assert len(text) == TOKENS
    with torch.inference_mode():
        wanted = reference(torch.from_numpy(window), decoder_input_ids=torch.tensor([prompt + text])).logits
    np.testing.assert_allclose(logits, wanted.numpy(), atol=2e-3)


def test_a_window_may_be_shorter(work: Path, reference: Any) -> None:
    """Compared with the same model, its positions cut."""
    import torch

    positions, window = 60, log_mel(120)
    keys, values = graphs(work, "fp32")["encoder"].run(None, {"mel": window})
    encoder, embedding = reference.model.encoder, cast(Any, torch.nn.Embedding)
    whole = encoder.embed_positions
    try:
        encoder.embed_positions = embedding.from_pretrained(whole.weight[:positions])
        encoder.config.max_source_positions = positions
        with torch.inference_mode():
            states = encoder(torch.from_numpy(window)).last_hidden_state
            attentions = [layer.encoder_attn for layer in reference.model.decoder.layers]
            np.testing.assert_allclose(keys, torch.stack([x.k_proj(states) for x in attentions]), atol=1e-4)
            np.testing.assert_allclose(values, torch.stack([x.v_proj(states) for x in attentions]), atol=1e-4)
    finally:
        encoder.embed_positions = whole
        encoder.config.max_source_positions = DIMS.max_source_positions


def test_quantized_graphs_stop_after_as_many_tokens(work: Path) -> None:
    import onnx

    text, _ = decode(graphs(work, "int8"), log_mel(2 * DIMS.max_source_positions), *prompt_of(work))
    assert len(text) == TOKENS
    of_linear_layers = {
        "encoder": 6 * DIMS.encoder_layers + 2 * DIMS.decoder_layers,
        "decoder": 8 * DIMS.decoder_layers,
    }
    for name, count in of_linear_layers.items():
        graph = onnx.load(work / "sherpa-onnx-int8" / f"{name}.onnx").graph
        assert [node.op_type for node in graph.node].count("MatMulInteger") == count


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_encoder_says_what_sherpa_onnx_asks_it_for(work: Path, precision: str) -> None:
    found = graphs(work, precision)["encoder"].get_modelmeta().custom_metadata_map
    (start, _, transcribe, no_timestamps), end = prompt_of(work)
    shape = {
        "n_mels": 80,
        "n_text_layer": 2,
        "n_text_ctx": 48,
        "n_text_state": 64,
        "n_vocab": DIMS.vocab_size,
    }
    tokens = {"sot": start, "eot": end, "transcribe": transcribe, "no_timestamps": no_timestamps}
    for name, value in (shape | tokens | {"is_multilingual": 1}).items():
        assert found[name] == str(value)
    assert found["sot_sequence"] == f"{start},{start + 1},{transcribe}"
    codes, ids = found["all_language_codes"].split(","), found["all_language_tokens"].split(",")
    assert dict(zip(codes, ids, strict=True))["de"] == str(prompt_of(work, "de")[0][1])


def test_every_token_writes_its_number(work: Path) -> None:
    lines = (work / "sherpa-onnx-int8" / "tokens.txt").read_text().splitlines()
    assert len(lines) == DIMS.vocab_size
    for line in lines:
        written, number = line.split()
        assert base64.b64decode(written).decode() == f"{number} "


TRANSCRIBE = """
import json, sys
import numpy as np, sherpa_onnx
from edgewhisper.bench.engines.sherpa_onnx import SherpaOnnx
from pathlib import Path
work, sounds = Path(sys.argv[1]), np.load(sys.argv[2])
SherpaOnnx.convert(work, "fp32")
files = {name: str(work / "sherpa-onnx-fp32" / name) for name in ("encoder.onnx", "decoder.onnx", "tokens.txt")}
texts = {}
for name in sounds.files:
    recognizer = sherpa_onnx.OfflineRecognizer.from_whisper(*files.values(), language=name[:2], tail_paddings=1)
    stream = recognizer.create_stream()
    stream.accept_waveform(16000, sounds[name])
    recognizer.decode_stream(stream)
    texts[name] = [int(token) for token in stream.result.tokens]
Path(sys.argv[3]).write_text(json.dumps(texts))
"""


@pytest.mark.slow
@with_sherpa
def test_sherpa_onnx_hears_what_transformers_does(
    demo_checkpoint: Path, recordings: Sequence[BundledRecording], tmp_path: Path
) -> None:
    """On the bundled model; sherpa-onnx computes log-mel frames of its own, and its last frame is zero."""
    import torch
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    (tmp_path / "checkpoint").symlink_to(demo_checkpoint)
    seen, german = ([each for each in recordings if each.group == group][:4] for group in ("seen", "german"))
    dims = read_checkpoint(demo_checkpoint).dimensions
    length = 160 * 2 * dims.max_source_positions
    sounds: dict[str, Any] = {}
    for each in (*seen, *german):
        samples, _ = soundfile.read(each.path, dtype="float32")
        sounds[f"{each.language} {each.path.name}"] = np.pad(
            samples, (0, max(0, length - 160 - len(samples)))
        )[: length - 160]
    np.savez(tmp_path / "sounds.npz", **sounds)
    command = [
        str(PEERS_PYTHON),
        "-c",
        TRANSCRIBE,
        str(tmp_path),
        str(tmp_path / "sounds.npz"),
        str(tmp_path / "ids.json"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    found = json.loads((tmp_path / "ids.json").read_text())

    model = WhisperForConditionalGeneration.from_pretrained(demo_checkpoint, dtype=torch.float32).eval()
    features = WhisperFeatureExtractor(feature_size=dims.n_mels, chunk_length=length // 16_000)
    for name, samples in sounds.items():
        window = features(samples, sampling_rate=16_000, return_tensors="pt").input_features
        prompt, end = prompt_of(tmp_path, name[:2])
        with torch.inference_mode():
            logits = model(window, decoder_input_ids=torch.tensor([prompt + found[name]])).logits
        assert [*found[name], end] == logits[0, len(prompt) - 1 :].argmax(-1).tolist(), name


@pytest.mark.slow
@with_sherpa
@pytest.mark.parametrize("name", ["sherpa-onnx", "sherpa-onnx-int8"])
def test_sherpa_onnx_is_measured(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A stage that has another number of tokens than it should fails in the worker."""
    folder = tmp_path_factory.getbasetemp() / "sherpa-tiny.en"
    write_checkpoint("tiny.en", folder)
    contestant, setting = Contestant(name, str(PEERS_PYTHON)), Setting(folder, 1)
    contestant.convert(setting)
    worker = Worker(contestant, setting)
    assert set(worker.versions) == {"sherpa-onnx"}
    encoding = worker.ask(stage="encode")
    short, long = (worker.ask(stage="decode", tokens=tokens) for tokens in (20, 100))
    assert worker.ask(stage="first step") is worker.ask(stage="step", tokens=8) is None
    worker.close()
    assert encoding is not None
    assert short is not None
    assert long is not None
    assert 0 < short.seconds < long.seconds
