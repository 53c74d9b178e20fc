"""Assistants: other Whisper models that propose tokens, with an encoder of their own or the main model's; and models that do not go with it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgewhisper.artifact import DRAFT_ENCODER, Manifest, ModelDimensions, draft_files, load_manifest
from edgewhisper.bench.speculation import SpeculationBench
from edgewhisper.errors import CheckpointError, EdgeWhisperError, UsageError
from edgewhisper.models.assistant import ENGLISH_SHORTLIST, scored_tokens
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.generation import ENGLISH_ONLY_VOCABULARY, find_token_ids
from edgewhisper.models.random_weights import write_random_folder
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.models.safetensors_file import write_safetensors
from edgewhisper.models.student import initial_student, write_student
from edgewhisper.models.tokenizer import build_vocabulary
from edgewhisper.models.transformers_files import write_settings, write_tokenizer
from edgewhisper.models.whisper_vocabulary import whisper_vocabulary
from edgewhisper.pipeline.build import build, quantize
from edgewhisper.pipeline.options import BuildOptions, Precision
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import CrossKV, Encoder
from edgewhisper.runtime.memory_budget import draft_memory
from edgewhisper.runtime.options import DecodingOptions, Segment
from edgewhisper.runtime.session import SessionSettings
from edgewhisper.runtime.transcriber import Transcriber
from tests.small_models import transformers_model

Change = Callable[[str, NDArray[np.generic]], NDArray[np.generic]]


def write_variant(checkpoint: Checkpoint, folder: Path, change: Change) -> Path:
    """The checkpoint with other weights."""
    folder.mkdir()
    write_settings(folder, checkpoint.dimensions, checkpoint.token_ids)
    write_tokenizer(folder, checkpoint.vocabulary, checkpoint.token_ids)
    shapes = {f"model.{name}": tensor.shape for name, tensor in checkpoint.tensors.items()}
    write_safetensors(
        folder / "model.safetensors",
        shapes,
        lambda name: change(name, checkpoint.tensors[name.removeprefix("model.")]),
    )
    return folder


def write_other(checkpoint: Checkpoint, folder: Path, **changes: int) -> Path:
    """A random model of another shape."""
    dimensions = replace(checkpoint.dimensions, **changes)
    write_random_folder(folder, dimensions, checkpoint.vocabulary, checkpoint.token_ids, seed=3)
    return folder


@pytest.fixture(scope="module")
def models(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The small model's helpers: one narrower, one with its encoder and other projections, one that only lost layers."""
    main, folder = read_checkpoint(small_checkpoint), tmp_path_factory.mktemp("assistants")

    def changed(name: str, tensor: NDArray[np.generic]) -> NDArray[np.generic]:
        is_shared = "encoder." in name or "layers.0.encoder_attn" in name
        return tensor if is_shared else np.asarray(tensor, np.float32) * 1.25

    (folder / "student").mkdir()
    write_student(main, initial_student(main, 1), folder / "student")
    return {
        "own encoder": write_other(main, folder / "own", d_model=32, encoder_heads=2, decoder_heads=2, encoder_ffn=128, decoder_ffn=128),
        "own projections": write_variant(main, folder / "distilled", changed),
        "student": folder / "student",
    }  # fmt: skip


KINDS = ("own encoder", "own projections", "student")
Artifact = Callable[[str, Precision], Path]


@pytest.fixture(scope="module")
def artifact(
    models: dict[str, Path], small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    """Builds the small model with one of them, once for each precision."""
    folder, built = tmp_path_factory.mktemp("artifacts"), dict[tuple[str, str], Path]()

    def make(kind: str, precision: Precision) -> Path:
        if (kind, precision) not in built:
            options = BuildOptions(precision=precision, draft=str(models[kind]), gate="off")
            output = folder / f"{kind}-{precision}"
            built[kind, precision] = build(small_checkpoint, output, options, parity=False)
        return built[kind, precision]

    return make


@pytest.fixture(scope="module")
def sound() -> NDArray[np.float32]:
    """Two windows of noise that comes and goes."""
    random = np.random.default_rng(3)
    return np.asarray(random.standard_normal(40_000) * np.sin(np.arange(40_000) / 3000) / 4, np.float32)


def cross_of(artifact: Path, manifest: Manifest, encoder: str) -> tuple[CrossKV, NDArray[np.float32]]:
    shape = (manifest.audio.n_mels, manifest.audio.n_frames)
    noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return Encoder(artifact, manifest, SessionSettings(), encoder).run(noise), noise


@pytest.mark.parametrize("kind", KINDS)
def test_the_draft_computes_what_the_assistant_computes(
    kind: str, artifact: Artifact, models: dict[str, Path]
) -> None:
    """Logits against transformers' model of the assistant's weights, in float64."""
    folder = artifact(kind, "fp32")
    manifest, assistant = load_manifest(folder), read_checkpoint(models[kind])
    own = DRAFT_ENCODER in manifest.graphs
    assert own is (kind == "own encoder")
    cross, noise = cross_of(folder, manifest, DRAFT_ENCODER if own else "encoder")
    draft = Decoder(folder, manifest, SessionSettings(), "draft")
    draft.reset(cross)
    ids = np.random.default_rng(1).integers(0, assistant.dimensions.vocab_size, 20)
    oracle = transformers_model(
        assistant.dimensions, {name: np.asarray(x, np.float64) for name, x in assistant.tensors.items()}
    )
    with torch.inference_mode():
        expected = oracle(
            input_features=torch.from_numpy(noise).double()[None],
            decoder_input_ids=torch.from_numpy(ids)[None],
        ).logits[0]
    np.testing.assert_allclose(draft.run(ids.tolist()), expected.numpy(), rtol=1e-3, atol=1e-3)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "precision", ["fp32", "int8", pytest.param("int8-weight", marks=SLOW), pytest.param("int4", marks=SLOW)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_text_is_that_without_an_assistant(
    kind: str, precision: Precision, artifact: Artifact, sound: NDArray[np.float32]
) -> None:
    transcriber = Transcriber(artifact(kind, precision), threads=2)

    def segments(speculate: object) -> list[Segment]:
        options = DecodingOptions(
            language="en",
            no_speech_threshold=None,
            temperature=(0.0, 0.6),
            speculate=speculate,  # type: ignore[arg-type]
        )
        stream, info = transcriber.transcribe(sound, options)
        found = list(stream)
        if isinstance(speculate, int):
            assert info.statistics.speculation.proposed > 0
        return found

    plain = segments("off")
    assert plain
    for speculate in (1, 4, 16, "auto"):
        assert segments(speculate) == plain


def test_what_is_the_main_models_is_not_stored_twice(artifact: Artifact, small_artifact: Path) -> None:
    plain = (small_artifact / "weights.bin").stat().st_size
    student = artifact("student", "fp32")
    manifest = load_manifest(student)
    assert manifest.graph("draft").embedding == manifest.graph("decoder").embedding
    assert len(manifest.graph("encoder").outputs) == len(
        load_manifest(small_artifact).graph("encoder").outputs
    )
    assert manifest.graph("draft").head_tokens is None
    layer = 4 * (6 * 64**2 + 2 * 64 * 256)
    assert (student / "weights.bin").stat().st_size < plain + 1.5 * layer
    own = load_manifest(artifact("own projections", "fp32"))
    numbers = {info.name for info in own.graph("encoder").outputs if "_key_" in info.name}
    assert numbers == {f"present_key_cross_{number}" for number in (0, 1, 2)}  # layer 0's are shared
    read = {info.name for info in own.graph("draft").inputs if "_key_cross_" in info.name}
    assert read == {"past_key_cross_0", "past_key_cross_2"}


def test_files_of_an_assistant_are_a_drafts(
    artifact: Artifact, sound: NDArray[np.float32], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without them the main model transcribes, with a warning; they count for the memory limit."""
    folder = artifact("own encoder", "fp32")
    manifest = load_manifest(folder)
    assert draft_files(manifest) >= {"draft.onnx", "draft_encoder.onnx", "draft_weights.bin"}
    assert draft_memory(manifest) > (folder / "draft_weights.bin").stat().st_size
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in folder.iterdir():
        if path.name != "draft_encoder.onnx":
            (broken / path.name).write_bytes(path.read_bytes())
    options = DecodingOptions(language="en", temperature=0.0)
    found = list(Transcriber(broken).transcribe(sound, options)[0])
    assert "draft_encoder.onnx" in caplog.text
    assert "decoding goes on without a draft" in caplog.text
    assert found == list(Transcriber(folder).transcribe(sound, options)[0])


def test_its_encoder_counts_for_what_a_draft_costs(artifact: Artifact) -> None:
    own, shared = (
        SpeculationBench(artifact(kind, "fp32"), threads=1).costs for kind in ("own encoder", "student")
    )
    assert own.window > 0
    assert shared.window == 0


def test_a_fp32_artifact_with_an_assistant_is_not_quantized(artifact: Artifact, tmp_path: Path) -> None:
    options = BuildOptions(precision="int8", gate="off")
    with pytest.raises(UsageError, match="its draft is a model of its own; build the quantized artifact"):
        quantize(artifact("own encoder", "fp32"), tmp_path / "int8", options)


def test_of_an_english_vocabulary_the_frequent_tokens_are_scored(tmp_path: Path) -> None:
    vocabulary = whisper_vocabulary(ENGLISH_ONLY_VOCABULARY)
    ids = find_token_ids(vocabulary.tokens, multilingual=False, source="test")
    dimensions = ModelDimensions(
        n_mels=80, d_model=32, encoder_layers=1, encoder_heads=2, encoder_ffn=64, decoder_layers=2, decoder_heads=2,
        decoder_ffn=64, vocab_size=ENGLISH_ONLY_VOCABULARY, max_source_positions=100, max_target_positions=64,
    )  # fmt: skip
    for name, layers in (("main", 2), ("assistant", 1)):
        shape = replace(dimensions, decoder_layers=layers)
        write_random_folder(tmp_path / name, shape, vocabulary, ids, seed=layers)
    scored = scored_tokens(read_checkpoint(tmp_path / "assistant"))
    assert len(scored) == ENGLISH_SHORTLIST + 1 + ENGLISH_ONLY_VOCABULARY - ids.timestamp_begin
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    for precision in precisions:
        options = BuildOptions(precision=precision, draft=str(tmp_path / "assistant"), gate="off")
        folder = build(tmp_path / "main", tmp_path / precision, options, parity=False)
        manifest = load_manifest(folder)
        assert manifest.graph("draft").head_tokens == scored
        whole = build(
            tmp_path / "assistant",
            tmp_path / f"{precision}-assistant",
            replace(options, draft=None),
            parity=False,
        )
        logits = []
        for place, encoder, decoder in ((folder, DRAFT_ENCODER, "draft"), (whole, "encoder", "decoder")):
            of_place = load_manifest(place)
            session = Decoder(place, of_place, SessionSettings(), decoder)
            session.reset(cross_of(place, of_place, encoder)[0])
            logits.append(
                session.run([ids.start_of_transcript, 40_000, 17, 50_000]).copy()
            )  # tokens that it does not score too
        error = np.linalg.norm(logits[0] - logits[1][:, scored]) / np.linalg.norm(logits[1][:, scored])
        assert error < (1e-5 if precision == "fp32" else 0.15)


def test_models_that_do_not_go_together_are_refused_with_the_reason(
    small_checkpoint: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    main = read_checkpoint(small_checkpoint)
    base = [*(bytes([byte]) for byte in range(256)), b" t", b"he", b" th"]
    special = [token.decode() for token in main.vocabulary.tokens[len(base) :]]
    other = replace(main, vocabulary=build_vocabulary(base, special))
    student = tmp_path / "student"
    student.mkdir()
    write_student(
        replace(main, model=replace(main.model, checkpoint_sha256="1" * 64)),
        initial_student(main, 1),
        student,
    )
    (tmp_path / "empty").mkdir()
    cases: list[tuple[Path | str, type[EdgeWhisperError], str]] = [
        (write_other(other, tmp_path / "words"), CheckpointError, r"its vocabulary is another \(370 tokens as small has, but others\)"),
        (write_other(main, tmp_path / "mels", n_mels=128), CheckpointError, "it reads 128 mel bins, small 80"),
        (write_other(main, tmp_path / "window", max_source_positions=150), CheckpointError, "its window has 300 frames, that of small 200"),
        (small_checkpoint, CheckpointError, "is small itself"),
        (student, CheckpointError, r"is a student of another model than small \(small\)"),
        (tmp_path / "empty", CheckpointError, "holds neither a draft"),
        ("hedas", UsageError, "draft 'hedas': give heads, shared:1"),
        (str(tmp_path / "gone"), CheckpointError, "no such folder or file"),
    ]  # fmt: skip
    for choice, error, message in cases:
        options = BuildOptions(draft=str(choice))
        with pytest.raises(error, match=message):
            build(small_checkpoint, tmp_path / "artifact", options, parity=False)
        assert not (tmp_path / "artifact").exists()


def test_a_damaged_description_of_a_student_is_refused(
    models: dict[str, Path], small_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    for path in models["student"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "student.json").write_text(json.dumps({"main": 1}))
    with pytest.raises(CheckpointError, match=r"student\.json: damaged"):
        build(small_checkpoint, tmp_path / "artifact", BuildOptions(draft=str(folder)), parity=False)
