"""`edgewhisper eval` on real recordings: what it says, what it leaves out, and what an interruption does to it."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from edgewhisper.bench.corpora.folders import NO_TEXT
from edgewhisper.bench.corpora.utterance import Corpus, Utterance
from edgewhisper.bench.evaluation.evaluate import evaluate
from edgewhisper.bench.evaluation.results import Result, read_results
from edgewhisper.bench.evaluation.transcribing import Task
from edgewhisper.bench.run import read_run
from edgewhisper.bench.spreading.job import Done, Engine, Job
from edgewhisper.bench.spreading.local import local_engine
from edgewhisper.errors import CorpusError, UsageError
from edgewhisper.models.cards import DEMO_FOLDER
from edgewhisper.runtime.options import DecodingOptions
from tests.conftest import BundledRecording, Command

GREEDY = DecodingOptions(temperature=0.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, recordings: list[BundledRecording]) -> Path:
    """Six short recordings with transcripts, one that is broken, one without transcript, and one transcript too many."""
    folder = tmp_path_factory.mktemp("corpus")
    for recording in [item for item in recordings if item.group in ("seen", "german")][:6]:
        shutil.copy(recording.path, folder)
        (folder / recording.path.name).with_suffix(".txt").write_text(recording.text, encoding="utf-8")
    (folder / "broken.wav").write_bytes(b"RIFF")
    (folder / "broken.txt").write_text("broken")
    soundfile.write(folder / "unknown.wav", [0.0] * 16_000, 16_000)
    (folder / "lost.txt").write_text("nobody knows")
    return folder


def plain(results: object) -> list[Result]:
    """Results in the order of their names, without times."""
    found = [item for item in results if isinstance(item, Result)]  # type: ignore[attr-defined]
    untimed = [Result(**{**item.__dict__, "seconds": 0.0}) for item in found]
    return sorted(untimed, key=lambda item: item.key)


def test_the_command_scores_what_can_be_scored(
    corpus: Path, demo_artifact: Path, tmp_path: Path, command: Command
) -> None:
    outcome = command("eval", corpus, "-a", demo_artifact, "-o", tmp_path / "out", "--worst", "1")
    assert outcome.code == 1  # as some were left out
    assert "3 results are left out" in outcome.err
    assert "lost.txt: there is no such recording" in outcome.out
    assert "unknown.wav: there is no transcript" in outcome.out
    assert "broken.wav: " in outcome.out
    (variant,) = read_run(tmp_path / "out" / "run.json").models[0].variants
    assert variant.accuracy is not None
    assert 0 <= variant.accuracy.wer < 0.2
    rows = (tmp_path / "out" / "demo.tsv").read_text().splitlines()
    assert len(rows) == 1 + 9
    assert len({row.count("\t") for row in rows}) == 1
    words = sum(int(row.split("\t")[1] or 0) for row in rows[1:])
    assert words == variant.accuracy.words


def test_artifacts_are_compared_with_the_first(
    corpus: Path, demo_artifact: Path, tmp_path: Path, command: Command
) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(demo_artifact, twin)
    outcome = command("eval", corpus, "-a", demo_artifact, "-a", twin, "-o", tmp_path / "out")
    assert "against demo" in outcome.out
    (row,) = [line for line in outcome.out.splitlines() if line.startswith("twin") and "+0.00" in line]
    assert row.split()[-1] == "100.00"
    again = command("eval", corpus, "-a", demo_artifact, "-a", demo_artifact, "-o", tmp_path / "out")
    again.assert_refused(2, "two artifacts are called 'demo'")


def test_what_is_no_corpus_or_no_artifact_is_refused(
    demo_artifact: Path, tmp_path: Path, command: Command
) -> None:
    command("eval", tmp_path / "gone", "-a", demo_artifact, "-o", tmp_path / "out").assert_refused(
        2, "there is no such corpus"
    )
    command(
        "eval", DEMO_FOLDER / "recordings", "-a", tmp_path / "gone", "-o", tmp_path / "out"
    ).assert_refused(1, "no such artifact")
    assert not (tmp_path / "out").exists()


def test_several_processes_write_the_same(corpus: Path, demo_artifact: Path) -> None:
    from edgewhisper.bench.corpora.open import open_corpus

    task = Task(demo_artifact, GREEDY, threads=1)
    alone = plain(local_engine(1)(task, iter(open_corpus(corpus))))
    assert len(alone) == 9
    assert plain(local_engine(2)(task, iter(open_corpus(corpus)))) == alone


def says(text: str) -> Engine:
    """Stands in for transcribing."""

    def transcribe(job: Job[Done], utterances: Iterator[Utterance]) -> Generator[Any, None, None]:
        for utterance in utterances:
            said = None if utterance.key == "fails" else text
            yield Result(
                utterance.key,
                utterance.stamp,
                utterance.text,
                said,
                "en",
                problem=None if said else "no memory",
            )

    return transcribe


def test_an_evaluation_goes_by_what_the_corpus_holds_now(demo_artifact: Path, tmp_path: Path) -> None:
    """Transcripts that were corrected or added, recordings that are gone, and failures that are tried again."""
    task, out = Task(demo_artifact, GREEDY), tmp_path / "out"

    def corpus(*utterances: Utterance) -> Corpus:
        return Corpus("some corpus", lambda: iter(utterances))

    first = corpus(
        Utterance("a", b"1", "wrong words"), Utterance("b", b"2", problem=NO_TEXT), Utterance("fails", b"3", "right"), Utterance("gone", b"4", "x")
    )  # fmt: skip
    (before,) = evaluate([task], first, out, says("right"))
    assert (before.score.words, before.score.failed, before.score.without_reference) == (3, 1, 1)
    second = corpus(
        Utterance("a", b"1", "right"), Utterance("b", b"2", "right"), Utterance("fails", b"3", "right")
    )
    (after,) = evaluate([task], second, out, says("other"))  # asked for what failed alone
    assert (after.score.words, after.score.wer.value, after.score.failed) == (2, 0.0, 1)
    assert [item.result.key for item in after.scored] == ["a", "b"]


def test_two_recordings_of_one_name_are_refused(demo_artifact: Path, tmp_path: Path) -> None:
    twice = Corpus("some corpus", lambda: iter([Utterance("a", b"1", "x"), Utterance("a", b"2", "y")]))
    with pytest.raises(CorpusError, match="has two recordings called 'a'"):
        evaluate([Task(demo_artifact, GREEDY)], twice, tmp_path, says("x"))


def test_options_that_an_artifact_lacks_are_refused_before_anything_is_done(
    demo_artifact: Path, tmp_path: Path
) -> None:
    corpus = Corpus("some corpus", lambda: iter([Utterance("a", b"1", "x")]))
    with pytest.raises(UsageError, match="klingon"):
        evaluate([Task(demo_artifact, GREEDY, "klingon")], corpus, tmp_path / "out", says("x"))
    assert not (tmp_path / "out").exists()


def test_english_is_normalised_as_english_however_it_is_called(demo_artifact: Path, tmp_path: Path) -> None:
    corpus = Corpus("some corpus", lambda: iter([Utterance("a", b"1", "It's twenty-one")]))
    for language in ("English", "EN", "en"):
        (found,) = evaluate(
            [Task(demo_artifact, GREEDY, language)], corpus, tmp_path / language, says("it is 21")
        )
        assert found.score.wer.value == 0


@pytest.mark.slow
def test_killed_and_gone_on_with_it_gives_what_an_uninterrupted_run_gives(
    demo_artifact: Path, tmp_path: Path
) -> None:
    corpus = DEMO_FOLDER / "recordings"

    def start(out: Path) -> "subprocess.Popen[bytes]":
        arguments = ["eval", str(corpus), "-a", str(demo_artifact), "-o", str(out), "--temperature", "0"]
        return subprocess.Popen(
            [sys.executable, "-m", "edgewhisper", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    whole = start(tmp_path / "whole")
    printed, _ = whole.communicate()
    for _ in range(3):
        process = start(tmp_path / "killed")
        results = tmp_path / "killed" / "demo.jsonl"
        before = results.read_bytes().count(b"\n") if results.exists() else 0
        while process.poll() is None and (
            not results.exists() or results.read_bytes().count(b"\n") < before + 8
        ):
            time.sleep(0.01)
        process.kill()
        process.communicate()
    last = start(tmp_path / "killed")
    again, _ = last.communicate()
    assert plain(read_results(tmp_path / "killed" / "demo.jsonl")) == plain(
        read_results(tmp_path / "whole" / "demo.jsonl")
    )
    lines = [
        json.loads(line)["key"] for line in (tmp_path / "killed" / "demo.jsonl").read_text().splitlines()[1:]
    ]
    assert len(lines) == len(set(lines)) == 46

    def rates(text: bytes) -> list[str]:
        return text.decode().splitlines()[2].split()[:-1]  # without the real-time factor

    assert rates(again) == rates(printed)
