"""The bundled student: half of the bundled model's decoder, its encoder, and nearly its text."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperForConditionalGeneration

from edgewhisper.bench.scoring import error_rate
from edgewhisper.models.cards import BUNDLED, DEMO, DEMO_STUDENT, find_card
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.models.student import read_student_info
from edgewhisper.pipeline.build import build
from edgewhisper.pipeline.options import BuildOptions
from edgewhisper.runtime.audio import open_audio
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import Encoder
from edgewhisper.runtime.features import LogMelStream
from edgewhisper.runtime.options import DecodingOptions
from edgewhisper.runtime.prompt import start_sequence
from edgewhisper.runtime.session import SessionSettings
from edgewhisper.runtime.transcriber import Transcriber
from tests.conftest import BundledRecording

FOLDER = BUNDLED[DEMO_STUDENT]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student") / "int8"
    return build(DEMO_STUDENT, folder, BuildOptions(precision="int8", gate="off"), parity=False)


def test_it_is_of_the_bundled_model_with_half_its_decoder() -> None:
    main, checkpoint, info = read_checkpoint(DEMO), read_checkpoint(DEMO_STUDENT), read_student_info(FOLDER)
    assert info is not None
    assert (info.main, info.main_sha256) == (DEMO, main.model.checkpoint_sha256)
    assert info.agreement is not None
    assert info.agreement > 0.95
    assert 2 * checkpoint.dimensions.decoder_layers == main.dimensions.decoder_layers
    shared = [name for name in checkpoint.tensors if not name.startswith("decoder.layer")]
    assert len(shared) > 50
    for name in shared:
        np.testing.assert_array_equal(checkpoint.tensors[name], main.tensors[name])
    assert checkpoint.vocabulary == main.vocabulary
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8e6


def test_its_card_is_listed() -> None:
    card = find_card("demo-student")
    assert card.dimensions == read_checkpoint(DEMO_STUDENT).dimensions
    assert card.parameters < find_card(DEMO).parameters


def test_the_graphs_compute_what_transformers_computes(
    recordings: Sequence[BundledRecording], tmp_path: Path
) -> None:
    """Logits over prompt and text of one recording, fp32."""
    artifact = build(DEMO_STUDENT, tmp_path / "fp32", BuildOptions(gate="off", winograd="off"), parity=False)
    transcriber = Transcriber(artifact, threads=1)
    options = DecodingOptions(timestamps=False, language="en")
    segments, _ = transcriber.transcribe(recordings[0].path, options)
    text = [token for segment in segments for token in segment.tokens]
    assert len(text) > 5
    manifest, settings = transcriber.manifest, SessionSettings(threads=1)
    sequence = [*start_sequence(options, manifest.tokens, "en"), *text]
    with open_audio(recordings[0].path, target_rate=manifest.audio.sample_rate) as stream:
        window = LogMelStream(stream, manifest.audio).window(0, manifest.audio.n_frames)[0]
    decoder = Decoder(artifact, manifest, settings)
    decoder.reset(Encoder(artifact, manifest, settings).run(window))
    found = decoder.run(sequence)
    model = WhisperForConditionalGeneration.from_pretrained(FOLDER, dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = model(
            input_features=torch.from_numpy(window)[None], decoder_input_ids=torch.tensor([sequence])
        )
    np.testing.assert_allclose(found, expected.logits[0].numpy(), atol=2e-3)


def test_its_text_is_nearly_right(student: Path, recordings: Sequence[BundledRecording]) -> None:
    transcriber = Transcriber(student, threads=1)
    said: dict[str, list[str]] = {}
    for recording in [item for item in recordings if item.group != "long"]:
        segments, _ = transcriber.transcribe(recording.path, DecodingOptions(temperature=0.0))
        said.setdefault(recording.group, []).append("".join(segment.text for segment in segments))
    assert said.pop("blank") == ["", "", ""]
    for group, bar in (("seen", 0.02), ("unseen", 0.04), ("german", 0.05)):
        wanted = [item.text for item in recordings if item.group == group]
        assert error_rate(wanted, said[group]).wer <= bar


def test_it_guesses_for_the_bundled_model(student: Path, tmp_path: Path) -> None:
    """As an assistant over the same encoder."""
    options = BuildOptions(precision="int8", draft=DEMO_STUDENT, gate="off")
    artifact = build(DEMO, tmp_path / "assisted", options, parity=False)
    assert json.loads((artifact / "manifest.json").read_text())["build"]["options"]["draft"].startswith(
        "demo-student (sha256 "
    )
    assert not (artifact / "draft_encoder.onnx").exists()
