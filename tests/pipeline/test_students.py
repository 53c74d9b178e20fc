"""Students: a folder that other programs read too, with the main model's encoder and fewer decoder layers, that learnt from it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgewhisper.artifact import load_manifest
from edgewhisper.distill.draft_model import DraftDecoder
from edgewhisper.distill.learners import StudentLearner, ranks_of
from edgewhisper.distill.teacher import Lesson, likeliest_tokens
from edgewhisper.errors import UsageError
from edgewhisper.models.draft import Draft, DraftInfo
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.models.student import (
    FILES,
    initial_student,
    read_student_info,
    student_checkpoint,
    write_student,
)
from edgewhisper.pipeline.build import build
from edgewhisper.pipeline.distillation import distill
from edgewhisper.pipeline.options import BuildOptions
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import Encoder
from edgewhisper.runtime.session import SessionSettings


@pytest.fixture(scope="module")
def student(small_checkpoint: Path, speech_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of the small model with half of its layers."""
    folder = tmp_path_factory.mktemp("students")
    return distill(small_checkpoint, "student", None, speech_folder, folder / "student", folder / "work", 4)


def test_a_student_is_a_whisper_with_the_main_models_encoder(student: Path, small_checkpoint: Path) -> None:
    main, found = read_checkpoint(small_checkpoint), read_checkpoint(student)
    info = read_student_info(student)
    assert info is not None
    assert (info.main, info.main_sha256) == ("small", main.model.checkpoint_sha256)
    assert info.layers == (1,)
    assert info.agreement is not None
    assert 0 <= info.agreement <= 1
    assert found.dimensions == replace(main.dimensions, decoder_layers=1)
    assert not found.model.random_weights
    assert found.vocabulary == main.vocabulary
    assert replace(found.token_ids, alignment_heads=()) == main.token_ids
    kept = [name for name in found.tensors if name.startswith("encoder.") or "embed" in name]
    for name in kept:
        np.testing.assert_array_equal(found.tensors[name], main.tensors[name])
    learnt = "decoder.layers.{}.self_attn.q_proj.weight"
    assert not np.array_equal(found.tensors[learnt.format(0)], main.tensors[learnt.format(1)])
    assert {path.name for path in student.iterdir()} == FILES


def test_transformers_reads_it_and_computes_the_same(student: Path, tmp_path: Path) -> None:
    """Three ways: the exported graphs, transformers' model of the folder, and the module that was trained."""
    from transformers import WhisperForConditionalGeneration, WhisperTokenizer

    checkpoint = read_checkpoint(student)
    dims = checkpoint.dimensions
    oracle = WhisperForConditionalGeneration.from_pretrained(student).eval()
    assert oracle.config.decoder_layers == dims.decoder_layers == 1
    assert WhisperTokenizer.from_pretrained(student).decode([116, 104]) == "th"
    artifact = build(student, tmp_path / "artifact", BuildOptions(winograd="off"), parity=False)
    manifest, settings = load_manifest(artifact), SessionSettings(threads=1)
    noise = (
        np.random.default_rng(0).normal(size=(dims.n_mels, 2 * dims.max_source_positions)).astype(np.float32)
    )
    cross = Encoder(artifact, manifest, settings).run(noise)
    decoder = Decoder(artifact, manifest, settings)
    decoder.reset(cross)
    ids = np.random.default_rng(1).integers(0, dims.vocab_size, 20)
    found = decoder.run(ids.tolist())
    pair = tuple(torch.from_numpy(cross.values[f"past_{part}_cross_0"].numpy()) for part in ("key", "value"))
    every = DraftInfo("shared", 1, (0,), tuple(range(dims.vocab_size)), "")
    tensors = {
        name.removeprefix("decoder."): x
        for name, x in checkpoint.tensors.items()
        if name.startswith("decoder.")
    }
    read = ("embed", "encoder_attn.k_proj", "encoder_attn.v_proj")  # by the module from elsewhere
    kept = {name: x for name, x in tensors.items() if not any(part in name for part in read)}
    module = DraftDecoder(checkpoint, Draft(every, kept)).eval()
    with torch.inference_mode():
        expected = oracle(
            input_features=torch.from_numpy(noise)[None], decoder_input_ids=torch.from_numpy(ids)[None]
        ).logits[0]
        trained = module(torch.from_numpy(ids)[None], [(pair[0], pair[1])])[0]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found, trained.numpy(), rtol=1e-3, atol=1e-3)


def test_a_student_learns_the_language_too(small_checkpoint: Path) -> None:
    """What follows the start of the transcript counts, previous text does not."""
    checkpoint = read_checkpoint(small_checkpoint)
    draft, dims, ids = initial_student(checkpoint, 1), checkpoint.dimensions, checkpoint.token_ids
    learner = StudentLearner(
        checkpoint, draft, ranks_of(draft.info.tokens, dims.vocab_size), torch.device("cpu")
    )
    learner.model.eval()
    random = np.random.default_rng(0)
    encoded = random.normal(size=(10, dims.d_model)).astype(np.float16)
    german = [ids.start_of_previous, 65, 66, ids.start_of_transcript, ids.languages["de"], 67, 68]

    def loss(changed: int, token: int) -> torch.Tensor:
        tokens = np.array(german, np.int32)
        tokens[changed] = token
        logits = np.zeros((len(tokens), dims.vocab_size), np.float32)
        lesson = Lesson((), tokens, 5, *likeliest_tokens(logits), encoded=encoded)
        torch.manual_seed(0)
        return learner.loss([lesson])

    same = loss(1, 65)
    assert torch.equal(same, loss(1, 65))
    assert not torch.equal(same, loss(4, ids.languages["en"]))
    following = torch.tensor(german[4:])
    spoken = learner._from_start(
        Lesson((), np.array(german, np.int32), 5, *likeliest_tokens(np.zeros((7, 40), np.float32)))
    )
    assert spoken.tokens[spoken.first :].tolist() == following.tolist()


def test_layers_that_stay_keep_their_alignment_heads(small_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(small_checkpoint)
    heads = ((0, 1), (1, 0), (1, 3))
    checkpoint = replace(checkpoint, token_ids=replace(checkpoint.token_ids, alignment_heads=heads))
    trained = initial_student(checkpoint, 1)
    assert student_checkpoint(checkpoint, trained).token_ids.alignment_heads == ((0, 0), (0, 3))
    write_student(checkpoint, trained, tmp_path)
    assert read_checkpoint(tmp_path).token_ids.alignment_heads == ((0, 0), (0, 3))


@pytest.mark.parametrize("layers", [0, 2, 3])
def test_a_student_has_fewer_layers_than_its_main_model(
    layers: int, small_checkpoint: Path, speech_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="layers"):
        distill(small_checkpoint, "student", layers, speech_folder, tmp_path / "out", tmp_path / "work", 1)
    assert not (tmp_path / "out").exists()


def test_a_student_is_replaced_by_another_and_nothing_else_is(
    student: Path, small_checkpoint: Path, speech_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "student"
    output.mkdir()
    for path in student.iterdir():
        (output / path.name).write_bytes(path.read_bytes())
    distill(small_checkpoint, "student", 1, speech_folder, output, tmp_path / "work", 1)
    assert (output / "model.safetensors").read_bytes() != (student / "model.safetensors").read_bytes()
    (output / "student.json").unlink()  # any model now
    with pytest.raises(UsageError, match="exists and is neither a draft nor a student"):
        distill(small_checkpoint, "student", 1, speech_folder, output, tmp_path / "work", 1)
