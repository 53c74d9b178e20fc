"""Training a draft: what comes out fits its main model alone, learns something, and survives an interruption."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from edgewhisper.artifact import Manifest, load_manifest
from edgewhisper.distill.draft_model import DraftDecoder
from edgewhisper.distill.draft_training import DraftTraining, LearningPoint, train_draft
from edgewhisper.distill.heads_model import HeadsDecoder
from edgewhisper.distill.teacher import Lesson, likeliest_tokens, write_lesson
from edgewhisper.errors import AudioError, CheckpointError, CorpusError, UsageError
from edgewhisper.models.draft import DESCRIPTION, WEIGHTS, Kind, initial_draft, read_draft, write_draft
from edgewhisper.models.random_weights import write_random_folder
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.models.safetensors_file import open_safetensors
from edgewhisper.models.student import Distilled
from edgewhisper.models.transformers_folder import WEIGHTS as STUDENT_WEIGHTS
from edgewhisper.pipeline.build import build
from edgewhisper.pipeline.distillation import distill
from edgewhisper.pipeline.options import BuildOptions
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import CrossKV, Encoder
from edgewhisper.runtime.heads import Heads
from edgewhisper.runtime.session import SessionSettings
from tests.conftest import Command


@pytest.fixture(scope="module")
def trained(small_checkpoint: Path, speech_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A draft of the small model, and beside it what was said while it was trained."""
    folder = tmp_path_factory.mktemp("drafts")
    lines: list[str] = []
    draft = distill(
        small_checkpoint, "shared", 1, speech_folder, folder / "draft", folder / "work", 6, lines.append
    )
    (folder / "lines.txt").write_text("\n".join(lines))
    return draft


def test_a_trained_draft_is_built_into_an_artifact(
    trained: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    said = (trained.parent / "lines.txt").read_text()
    assert "left out: " in said
    assert "broken.wav" in said
    assert "acceptance" in said
    checkpoint = read_checkpoint(small_checkpoint)
    info = read_draft(trained, checkpoint).info
    assert info.acceptance is not None
    assert checkpoint.token_ids.end_of_text in info.tokens
    options = BuildOptions(draft=str(trained), gate="off")
    manifest = load_manifest(build(small_checkpoint, tmp_path / "artifact", options, parity=False))
    assert manifest.graph("draft").head_tokens == info.tokens
    assert manifest.build.options["draft"].startswith("shared:1 (sha256 ")


def encoded_noise(artifact: Path, manifest: Manifest, settings: SessionSettings) -> CrossKV:
    shape = (manifest.audio.n_mels, manifest.audio.n_frames)
    noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return Encoder(artifact, manifest, settings).run(noise)


def test_the_graph_computes_what_was_trained(trained: Path, small_checkpoint: Path, tmp_path: Path) -> None:
    """PyTorch's module and the exported graph, over the encoder's keys and values."""
    checkpoint = read_checkpoint(small_checkpoint)
    draft = read_draft(trained, checkpoint)
    options = BuildOptions(draft=str(trained), gate="off", winograd="off")
    artifact = build(small_checkpoint, tmp_path / "artifact", options, parity=False)
    manifest, settings = load_manifest(artifact), SessionSettings(threads=1)
    cross = encoded_noise(artifact, manifest, settings)
    decoder = Decoder(artifact, manifest, settings, "draft")
    decoder.reset(cross)
    ids = np.random.default_rng(1).integers(0, checkpoint.dimensions.vocab_size, 20).tolist()
    found = decoder.run(ids)
    (layer,) = draft.info.cross_layers
    pair = tuple(
        torch.from_numpy(cross.values[f"past_{part}_cross_{layer}"].numpy()) for part in ("key", "value")
    )
    module = DraftDecoder(checkpoint, draft).eval()
    with torch.inference_mode():
        expected = module(torch.tensor([ids]), [(pair[0], pair[1])])[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_graph_of_heads_computes_what_was_trained(
    small_checkpoint: Path, speech_folder: Path, tmp_path: Path
) -> None:
    """A chain of guesses: PyTorch's module on the graphs' hidden state, and the session."""
    output = distill(small_checkpoint, "heads", 1, speech_folder, tmp_path / "draft", tmp_path / "work", 4)
    checkpoint = read_checkpoint(small_checkpoint)
    draft = read_draft(output, checkpoint)
    assert draft.info.kind == "heads"
    options = BuildOptions(draft=str(output), gate="off", winograd="off")
    artifact = build(small_checkpoint, tmp_path / "artifact", options, parity=False)
    manifest, settings = load_manifest(artifact), SessionSettings(threads=1)
    cross = encoded_noise(artifact, manifest, settings)
    decoder = Decoder(artifact, manifest, settings)
    decoder.reset(cross)
    ids = np.random.default_rng(1).integers(0, checkpoint.dimensions.vocab_size, 20).tolist()
    logits = decoder.run(ids[:8], 3)
    assert decoder.hidden is not None
    assert decoder.hidden.shape == (5, checkpoint.dimensions.d_model)
    table = np.asarray(checkpoint.tensors["decoder.embed_tokens.weight"], np.float32)
    np.testing.assert_allclose(decoder.hidden @ table.T, logits, rtol=1e-4, atol=1e-4)
    heads = Heads(artifact, manifest, settings)
    heads.reset(cross)
    heads.begin(decoder.hidden[-1])
    (layer,) = draft.info.cross_layers
    pair = tuple(
        torch.from_numpy(cross.values[f"past_{part}_cross_{layer}"].numpy()) for part in ("key", "value")
    )
    module = HeadsDecoder(checkpoint, draft).eval()
    state = torch.from_numpy(decoder.hidden[-1:].copy())[None]
    for token in ids[8:14]:
        with torch.inference_mode():
            state = module(state, torch.tensor([[token]]), [(pair[0], pair[1])])
            expected = module.logits(state)[0, 0].numpy()
        np.testing.assert_allclose(heads.run(token), expected, rtol=1e-4, atol=1e-4)


def lessons_of(
    folder: Path, layers: int, heads: int, width: int, positions: int, vocabulary: int
) -> list[Path]:
    """Lessons in which every token says which one follows."""
    paths = []
    for number in range(12):
        random = np.random.default_rng(number)
        pairs = tuple(
            (
                random.normal(size=(heads, positions, width)).astype(np.float16),
                random.normal(size=(heads, positions, width)).astype(np.float16),
            )
            for _ in range(layers)
        )
        tokens = np.array([1, 2, *([5, 6, 7, 8] * 5)], np.int32)
        logits = np.full((len(tokens), vocabulary), -5.0, np.float32)
        logits[np.arange(len(tokens) - 1), tokens[1:]] = 5
        hidden = random.normal(0, 0.1, (len(tokens), heads * width)).astype(np.float16)
        paths.append(folder / f"{number}.npz")
        write_lesson(Lesson(pairs, tokens, 2, *likeliest_tokens(logits), hidden), paths[-1])
    return paths


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("kind", "third"), [("shared", 20), pytest.param("heads", 60, marks=pytest.mark.slow)]
)
def test_training_learns_and_goes_on_where_it_was_stopped(
    kind: Kind, third: int, small_checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint = read_checkpoint(small_checkpoint)
    dims, draft = checkpoint.dimensions, initial_draft(checkpoint, kind, 1)
    paths = lessons_of(
        tmp_path, 1, dims.decoder_heads, dims.d_model // dims.decoder_heads, 20, dims.vocab_size
    )
    options = DraftTraining(kind, steps=3 * third, evaluate_every=third)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    points: list[LearningPoint] = []
    whole = train_draft(checkpoint, draft, paths[2:], paths[:2], options, tmp_path / "whole", points.append)
    assert [point.step for point in points] == [third, 2 * third, 3 * third]
    assert points[-1].loss < 0.5 * points[0].loss
    assert points[-1].acceptance == 1.0

    def kill(point: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        train_draft(checkpoint, draft, paths[2:], paths[:2], options, tmp_path / "stopped", kill)
    again = train_draft(checkpoint, draft, paths[2:], paths[:2], options, tmp_path / "stopped")
    assert again.info == whole.info
    for name, tensor in whole.tensors.items():
        np.testing.assert_array_equal(tensor, again.tensors[name])
    assert len((tmp_path / "stopped" / "log.jsonl").read_text().splitlines()) == 3


def test_what_was_gathered_is_not_gathered_again(
    trained: Path, small_checkpoint: Path, speech_folder: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    shutil.copytree(trained.parent / "work", work)
    lessons = sorted(work.glob("lessons-*/*.npz"))
    assert len(lessons) > 6
    before = {path: path.read_bytes() for path in lessons}
    first = lessons[0].stat().st_mtime_ns
    for path in lessons[3:]:  # as if the gathering had been killed
        path.unlink()
    distill(small_checkpoint, "shared", 1, speech_folder, tmp_path / "again", work, 6)
    assert lessons[0].stat().st_mtime_ns == first
    assert [path.name for path in lessons if path.read_bytes() != before[path]] == []
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()


def test_the_command_prints_where_the_draft_is(
    small_checkpoint: Path, speech_folder: Path, tmp_path: Path, command: Command
) -> None:
    outcome = command(
        "distill", small_checkpoint, "--data", speech_folder, "-o", tmp_path / "out", "--most", 3, "--jobs", 1,
        "--steps", 2, "--batch", 2, "--device", "cpu",
    )  # fmt: skip
    assert (outcome.code, outcome.out) == (0, f"{tmp_path / 'out'}\n")
    assert "step 2 of 2" in outcome.err
    assert read_draft(tmp_path / "out", read_checkpoint(small_checkpoint)).info.kind == "heads"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_line(
    small_checkpoint: Path, speech_folder: Path, tmp_path: Path, command: Command
) -> None:
    command(
        "distill", small_checkpoint, "--data", speech_folder, "-o", tmp_path / "out", "--device", "cuda"
    ).assert_refused(2, "PyTorch sees no NVIDIA GPU; install a PyTorch with CUDA, or use --device cpu")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and PyTorch with CUDA")
@pytest.mark.parametrize("kind", ["shared", "heads", "student"])
def test_a_gpu_learns_what_a_processor_learns(
    kind: Distilled, small_checkpoint: Path, speech_folder: Path, tmp_path: Path
) -> None:
    """Two steps: dropout is drawn otherwise, so the weights are alike and not the same."""
    for device in ("cpu", "cuda"):
        distill(
            small_checkpoint, kind, 1, speech_folder, tmp_path / device, tmp_path / "work" / device, 2,
            device=device,
        )  # fmt: skip
    name = STUDENT_WEIGHTS if kind == "student" else WEIGHTS
    found, expected = (open_safetensors(tmp_path / device / name) for device in ("cuda", "cpu"))
    assert set(found) == set(expected)
    for tensor in expected:
        np.testing.assert_allclose(
            found[tensor].load().astype(np.float32), expected[tensor].load().astype(np.float32), atol=0.01
        )


def test_other_recordings_or_another_draft_begin_anew(
    trained: Path, small_checkpoint: Path, speech_folder: Path, tmp_path: Path
) -> None:
    work, other = tmp_path / "work", tmp_path / "other"
    shutil.copytree(trained.parent / "work", work)
    shutil.copytree(speech_folder, other)
    (other / "0.flac").unlink()
    distill(small_checkpoint, "shared", 1, other, tmp_path / "fewer", work, 6)
    assert len(list(work.glob("lessons-*"))) == 2
    assert (tmp_path / "fewer" / WEIGHTS).read_bytes() != (trained / WEIGHTS).read_bytes()
    distill(small_checkpoint, "shared", 2, speech_folder, tmp_path / "deeper", work, 2)
    assert read_draft(tmp_path / "deeper", read_checkpoint(small_checkpoint)).info.layers == 2


def test_a_corpus_without_recordings_is_refused(small_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for data, words in (("empty", "holds no recording"), ("gone", "there is no such corpus")):
        with pytest.raises(CorpusError, match=words):
            distill(small_checkpoint, "heads", 1, tmp_path / data, tmp_path / "out", tmp_path / "work", 1)
    (tmp_path / "empty" / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match="no recording can be learnt from"):
        distill(small_checkpoint, "heads", 1, tmp_path / "empty", tmp_path / "out", tmp_path / "work", 1)


def test_nothing_but_a_draft_is_replaced(small_checkpoint: Path, speech_folder: Path, tmp_path: Path) -> None:
    precious = tmp_path / "important"
    precious.mkdir()
    (precious / "thesis.txt").write_text("hi")
    with pytest.raises(UsageError, match="exists and is neither a draft nor a student"):
        distill(small_checkpoint, "shared", 1, speech_folder, precious, tmp_path / "work", 1)
    for output in (speech_folder, speech_folder.parent):
        with pytest.raises(UsageError, match="holds the recordings or the work folder"):
            distill(small_checkpoint, "shared", 1, speech_folder, output, tmp_path / "work", 1)
    assert (precious / "thesis.txt").read_text() == "hi"
    assert len(list(speech_folder.iterdir())) == 7


def test_a_draft_of_another_model_is_refused(trained: Path, small_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(small_checkpoint)
    ids = checkpoint.token_ids
    write_random_folder(tmp_path / "other", checkpoint.dimensions, checkpoint.vocabulary, ids, seed=1)
    with pytest.raises(CheckpointError, match=r"is a draft of another model than other; make one for it"):
        build(tmp_path / "other", tmp_path / "out", BuildOptions(draft=str(trained)), parity=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("no description", "holds no draft"),
        ("cut description", "damaged; make the draft again"),
        ("cut weights", "damaged safetensors file"),
        ("other layers", "its weights do not fit"),
    ],
)
def test_a_damaged_draft_is_refused(
    damage: str, words: str, trained: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "draft"
    shutil.copytree(trained, folder)
    if damage == "no description":
        (folder / DESCRIPTION).unlink()
    elif damage == "cut description":
        (folder / DESCRIPTION).write_text("{")
    elif damage == "cut weights":
        (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])
    else:
        write_draft(initial_draft(read_checkpoint(small_checkpoint), "shared", 2), tmp_path / "draft")
        (folder / DESCRIPTION).write_bytes((trained / DESCRIPTION).read_bytes())
    with pytest.raises(CheckpointError, match=words):
        read_draft(folder, read_checkpoint(small_checkpoint))


@pytest.mark.parametrize("draft", ["shared:9", "nowhere", "shared:x"])
def test_a_draft_that_is_not_there_is_refused_in_one_line(draft: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="draft '") as caught:
        build("demo", tmp_path / "out", BuildOptions(draft=draft), parity=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
