"""What a main model says of a corpus: the same whichever process says it, and what is asked for alone."""

import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from edgewhisper.bench.corpora.open import open_corpus
from edgewhisper.bench.corpora.utterance import Corpus, Utterance
from edgewhisper.bench.scoring import normalise
from edgewhisper.bench.spreading.job import Done, Job
from edgewhisper.bench.spreading.local import in_this_process, local_engine
from edgewhisper.distill.teacher import likeliest_tokens, read_lesson
from edgewhisper.errors import CorpusError
from edgewhisper.models.draft import initial_draft
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.pipeline.lessons import Choice, gather, spoken_tokens


def lessons_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.npz"))}


def test_several_processes_say_what_one_says(
    small_checkpoint: Path, speech_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever order they come: lessons are in the order of the corpus. With another number of threads the last bits differ."""
    monkeypatch.setenv("EDGEWHISPER_THREADS", "1")
    checkpoint = read_checkpoint(small_checkpoint)
    info, corpus = initial_draft(checkpoint, "heads", 1).info, open_corpus(speech_folder)
    lines: list[str] = []
    alone = gather(checkpoint, info, corpus, Choice(), tmp_path / "alone", lines.append)
    together = gather(
        checkpoint, info, corpus, Choice(), tmp_path / "together", lines.append, engine=local_engine(2)
    )
    assert [path.name for path in together] == [path.name for path in alone]
    assert len(alone) > 6
    assert lessons_in(tmp_path / "together") == lessons_in(tmp_path / "alone")
    assert sum("broken.wav" in line for line in lines) == 2
    assert f"7 of 7 recordings: {len(alone)} windows" in lines


@pytest.mark.slow
# Of Ray's own modules, and of the files and processes that it leaves to its own end.
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
def test_a_cluster_says_what_one_process_says(
    small_checkpoint: Path, speech_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWHISPER_THREADS", "1")
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install edgewhisper[ray]")
    from edgewhisper.bench.spreading.on_ray import ray_engine

    checkpoint = read_checkpoint(small_checkpoint)
    info, corpus = initial_draft(checkpoint, "shared", 1).info, open_corpus(speech_folder)
    lines: list[str] = []
    alone = gather(checkpoint, info, corpus, Choice(), tmp_path / "alone", lines.append)
    spread = gather(
        checkpoint, info, corpus, Choice(), tmp_path / "spread", lines.append, engine=ray_engine(2)
    )
    assert [path.name for path in spread] == [path.name for path in alone]
    assert lessons_in(tmp_path / "spread") == lessons_in(tmp_path / "alone")


def test_later_windows_of_a_recording_follow_what_was_said_before(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint = read_checkpoint(small_checkpoint)
    ids, info = checkpoint.token_ids, initial_draft(checkpoint, "shared", 1).info
    seconds = 5 * checkpoint.dimensions.max_source_positions / 50
    sound = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * 16_000))
    (tmp_path / "corpus").mkdir()
    soundfile.write(tmp_path / "corpus" / "long.wav", sound, 16_000)
    source = open_corpus(tmp_path / "corpus")
    paths = gather(checkpoint, info, source, Choice(), tmp_path / "said", lambda line: None)
    said = [read_lesson(path) for path in paths]
    assert len(said) == 5
    for index, lesson in enumerate(said):
        prompt = lesson.tokens[: lesson.first].tolist()
        before = spoken_tokens(said[index - 1], ids.end_of_text) if index % 3 else ()
        assert (prompt[0] == ids.start_of_previous) == bool(before)
        start = prompt.index(ids.start_of_transcript)
        assert tuple(prompt[1:start]) == (before[-(start - 1) :] if before else ())
    timed = [ids.no_timestamps not in lesson.tokens[: lesson.first] for lesson in said]
    assert timed in ([True, False, True, False, True], [False, True, False, True, False])


def test_what_is_there_is_not_listened_to_again(
    small_checkpoint: Path, speech_folder: Path, tmp_path: Path
) -> None:
    """Nor read, but for a recording of which a window is missing, and one whose line was cut when the process was killed."""
    checkpoint = read_checkpoint(small_checkpoint)
    info, corpus = initial_draft(checkpoint, "shared", 1).info, open_corpus(speech_folder)
    lessons = gather(checkpoint, info, corpus, Choice(), tmp_path, lambda line: None)
    asked: list[str] = []

    def engine(job: Job[Done], utterances: Iterator[Utterance]) -> Generator[Done, None, None]:
        for outcome in in_this_process(job, utterances):
            asked.append(outcome.key)
            yield outcome

    assert gather(checkpoint, info, corpus, Choice(), tmp_path, lambda line: None, engine=engine) == lessons
    assert asked == ["broken.wav"]
    asked.clear()
    before = lessons[0].read_bytes()
    lessons[0].unlink()
    said = tmp_path / "said.tsv"
    said.write_text(said.read_text()[:-2])
    assert gather(checkpoint, info, corpus, Choice(), tmp_path, lambda line: None, engine=engine) == lessons
    assert asked == ["0.flac", "5.flac", "broken.wav"]
    assert lessons[0].read_bytes() == before


def test_two_recordings_of_one_name_are_refused(small_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(small_checkpoint)
    info = initial_draft(checkpoint, "shared", 1).info
    twice = Corpus("some corpus", lambda: iter([Utterance("a", None), Utterance("a", None)]))
    with pytest.raises(CorpusError, match="two recordings called 'a'"):
        gather(checkpoint, info, twice, Choice(), tmp_path, lambda line: None)


def test_only_what_is_asked_for_is_learnt_from(
    small_checkpoint: Path, speech_folder: Path, tmp_path: Path
) -> None:
    """The first recordings of a corpus, and of those the ones whose transcript the main model writes too."""
    corpus = tmp_path / "corpus"
    chapter = corpus / "1" / "2"
    chapter.mkdir(parents=True)
    for number in range(6):
        shutil.copy(speech_folder / f"{number}.flac", chapter / f"1-2-{number}.flac")
    transcripts = chapter / "1-2.trans.txt"
    transcripts.write_text("".join(f"1-2-{number} not yet known\n" for number in range(6)))
    checkpoint = read_checkpoint(small_checkpoint)
    source = open_corpus(corpus)
    info = initial_draft(checkpoint, "shared", 1).info
    said: list[str] = []
    lessons = gather(checkpoint, info, source, Choice(most=4), tmp_path / "first", said.append)
    windows = [len([x for x in lessons if x.name.startswith(item.stamp)]) for item in source]
    assert [count > 0 for count in windows] == [True] * 4 + [False] * 2
    texts = {}
    for item, count in zip(source, windows, strict=True):
        tokens = [
            token
            for index in range(count)
            for token in spoken_tokens(
                read_lesson(tmp_path / "first" / f"{item.stamp}-{index:04d}.npz"),
                checkpoint.token_ids.end_of_text,
            )
        ]
        text = b"".join(checkpoint.vocabulary.tokens[token] for token in tokens).decode("utf-8", "replace")
        texts[item.key] = " ".join(normalise(text).split())
    right = next(key for key in list(texts)[:4] if texts[key])
    listed = {key: text if key == right else "quite another thing" for key, text in list(texts.items())[:3]}
    transcripts.write_text("".join(f"{key} {text}\n" for key, text in listed.items()))
    said.clear()
    kept = gather(checkpoint, info, open_corpus(corpus), Choice(max_wer=0.1), tmp_path / "alike", said.append)
    stamp = next(item.stamp for item in open_corpus(corpus) if item.key == right)
    assert {path.name[:16] for path in kept} == {stamp}
    assert sum("writes something else than its transcript" in line for line in said) == 2
    assert sum("there is no transcript" in line for line in said) == 3


def test_log_probabilities_of_the_likeliest_tokens_are_those_of_all() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (5, 100)).astype(np.float32)
    ids, found = likeliest_tokens(logits)
    expected = torch.from_numpy(logits).log_softmax(-1).numpy()
    np.testing.assert_allclose(found, np.take_along_axis(expected, ids, axis=1), rtol=1e-4, atol=1e-5)
    assert set(ids[0].tolist()) == set(np.argsort(logits[0])[-32:].tolist())
