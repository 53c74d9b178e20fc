"""Corpora in every layout: what is in them, what lacks, and what is no corpus."""

import io
import shutil
import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgewhisper.bench.corpora import hugging_face
from edgewhisper.bench.corpora.folders import NO_AUDIO, NO_TEXT, read_lines
from edgewhisper.bench.corpora.open import open_corpus
from edgewhisper.bench.corpora.utterance import Utterance
from edgewhisper.errors import AudioError, CorpusError, MissingDependencyError
from edgewhisper.models.cards import DEMO_FOLDER

RATE = 16_000


def tone(seconds: float = 0.5, pitch: float = 440.0) -> NDArray[np.float32]:
    return np.asarray(np.sin(np.arange(round(seconds * RATE)) * 2 * np.pi * pitch / RATE) / 2, np.float32)


def write(path: Path, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seconds), RATE)
    return path


def samples(utterance: Utterance) -> NDArray[np.float32]:
    with utterance.open(RATE) as stream:
        return np.concatenate(list(stream))


def found(source: str | Path) -> list[tuple[str, str | None, str | None]]:
    """Key, text and problem of each utterance; what has no problem can be read."""
    utterances = list(open_corpus(source))
    assert len({utterance.key for utterance in utterances}) == len(utterances)
    for utterance in utterances:
        assert (utterance.audio is None) == (utterance.problem == NO_AUDIO)
        if utterance.audio is not None:
            assert len(samples(utterance)) > 1000
    return [(utterance.key, utterance.text, utterance.problem) for utterance in utterances]


def test_a_folder_with_texts_beside(tmp_path: Path) -> None:
    for name in ("b.wav", "a.flac", "deep/c.ogg", "silent.wav"):
        write(tmp_path / name)
    (tmp_path / "a.txt").write_text("\ufeffgrüß gott \n", encoding="utf-8")
    (tmp_path / "deep" / "c.txt").write_text("see")
    (tmp_path / "silent.txt").write_text("")
    (tmp_path / "lost.txt").write_text("nobody said this")
    (tmp_path / "broken.txt").write_bytes(b"\xff\xfe\xff")
    write(tmp_path / "broken.wav")
    assert found(tmp_path) == [
        ("a.flac", "grüß gott", None),
        ("b.wav", None, NO_TEXT),
        ("broken.wav", None, "its transcript broken.txt cannot be read"),
        ("deep/c.ogg", "see", None),
        ("silent.wav", "", None),
        ("lost.txt", None, NO_AUDIO),
    ]
    assert open_corpus(tmp_path).size == 5


def test_librispeech(tmp_path: Path) -> None:
    chapter = tmp_path / "dev-clean" / "84" / "121123"
    for number in (0, 1, 3):
        write(chapter / f"84-121123-000{number}.flac")
    (chapter / "84-121123.trans.txt").write_text(
        "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT\n84-121123-0002 GONE\n"
    )
    assert found(tmp_path) == [
        ("84-121123-0000", "GO DO YOU HEAR", None),
        ("84-121123-0001", "BUT", None),
        ("84-121123-0002", "GONE", NO_AUDIO),
        ("84-121123-0003", None, NO_TEXT),
    ]


def test_common_voice(tmp_path: Path) -> None:
    for name in ("common_voice_de_1.mp3", "common_voice_de_2.mp3"):
        write(tmp_path / "clips" / name)
    table = tmp_path / "test.tsv"
    table.write_text(
        "client_id\tpath\tsentence\tup_votes\tlocale\n"
        'x\tcommon_voice_de_1.mp3\tEr sagte: "Ja.\t2\tde\n'
        "y\tcommon_voice_de_2.mp3\t\t2\tde\n"
        "z\tcommon_voice_de_3.mp3\tNein\t2\tde\n"
    )
    assert found(table) == [
        ("common_voice_de_1.mp3", 'Er sagte: "Ja.', None),
        ("common_voice_de_2.mp3", "", None),
        ("common_voice_de_3.mp3", "Nein", NO_AUDIO),
    ]
    assert {utterance.language for utterance in open_corpus(table)} == {"de"}
    with pytest.raises(CorpusError, match=r"is Common Voice; name one of its tables \(test.tsv\)"):
        open_corpus(tmp_path)


def test_the_bundled_recordings() -> None:
    utterances = list(open_corpus(DEMO_FOLDER / "recordings"))
    assert len(utterances) == 46
    assert all(utterance.problem is None for utterance in utterances)
    assert {utterance.language for utterance in utterances} == {"en", "de"}


def test_kaldi_with_segments(tmp_path: Path) -> None:
    write(tmp_path / "audio" / "one.wav", 3.0)
    (tmp_path / "wav.scp").write_text(f"rec1 audio/one.wav\nrec2 {tmp_path}/gone.wav\n")
    (tmp_path / "segments").write_text("u1 rec1 0.5 1.25\nu2 rec1 2.0 9.0\nu3 rec2 0 1\nu4 rec1 1 2\n")
    (tmp_path / "text").write_text("u1 one\nu2\ttwo words\nu3 three\nu9 nine\n")
    (tmp_path / "utt2lang").write_text("u1 en\n")
    utterances = {utterance.key: utterance for utterance in open_corpus(tmp_path)}
    assert {key: (x.text, x.problem) for key, x in utterances.items()} == {
        "u1": ("one", None),
        "u2": ("two words", None),
        "u3": ("three", NO_AUDIO),
        "u4": (None, NO_TEXT),
        "u9": ("nine", NO_AUDIO),
    }
    assert utterances["u1"].language == "en"
    np.testing.assert_allclose(samples(utterances["u1"]), tone(3.0)[8000:20_000], atol=1e-4)
    assert len(samples(utterances["u2"])) == RATE  # to the end of the recording
    (tmp_path / "segments").unlink()
    assert [utterance.key for utterance in open_corpus(tmp_path)][:2] == ["rec1", "rec2"]


def test_a_part_beyond_the_recording_is_an_error_of_that_recording(tmp_path: Path) -> None:
    utterance = Utterance("u", write(tmp_path / "a.wav", 1.0), "x", part=(2.0, 3.0))
    with pytest.raises(AudioError, match="u: from 2 to 3 s there is no sound in it"):
        utterance.open(RATE)
    with pytest.raises(AudioError, match="u: cannot be read"):
        Utterance("u", tmp_path / "gone.wav", "x", part=(2.0, 3.0)).open(RATE)
    with pytest.raises(AudioError, match="u: there is no such recording"):
        Utterance("u", None, "x", problem=NO_AUDIO).open(RATE)


@pytest.mark.parametrize("parquet", [True, False])
def test_data_sets_of_hugging_face(parquet: bool, tmp_path: Path) -> None:
    import datasets

    def encoded(seconds: float) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, tone(seconds), RATE, format="FLAC")
        return file.getvalue()

    rows = {
        "id": ["x1", "x2", "x3"],
        "audio": [
            {"bytes": encoded(0.5), "path": "1.flac"},
            {"bytes": encoded(0.25), "path": "2.flac"},
            None,
        ],
        "text": ["one", None, "three"],
    }
    saved = datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False))
    if parquet:
        saved.to_parquet(tmp_path / "train-00000.parquet")
        source: str | Path = tmp_path
    else:
        datasets.DatasetDict({"test": saved, "train": saved}).save_to_disk(tmp_path / "set")
        source = f"{tmp_path / 'set'}:test"
    assert found(source) == [
        ("00000000-x1", "one", None),
        ("00000001-x2", None, NO_TEXT),
        ("00000002-x3", "three", NO_AUDIO),
    ]
    first = next(iter(open_corpus(source)))
    np.testing.assert_allclose(samples(first), tone(0.5), atol=1e-3)
    if not parquet:
        with pytest.raises(CorpusError, match=r"name one of its splits \(test, train\), such as .*set:test"):
            open_corpus(tmp_path / "set")
        with pytest.raises(CorpusError, match="name one of its splits"):
            open_corpus(f"{tmp_path / 'set'}:dev")


def test_a_data_set_without_audio_is_refused(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "set")
    with pytest.raises(CorpusError, match=r"has no column of audio \(it has: text\)"):
        open_corpus(tmp_path / "set")


def test_a_data_set_that_the_hub_does_not_give_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CorpusError, match="hf:nobody/nothing:test: cannot be loaded") as caught:
        open_corpus("hf:nobody/nothing:test")
    assert "\n" not in str(caught.value)


def test_data_sets_need_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"pip install edgewhisper\[hf\]"):
        hugging_face.data_set("hf:some/set")


def table_of(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "table.tsv"
        path.write_bytes(content)
        return path

    return make


def kaldi_of(**files: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for name, content in files.items():
            (folder / name.replace("_", ".")).write_text(content)
        return folder

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "gone", "there is no such corpus; give a folder"),
        (lambda folder: folder, "holds no recording"),
        (table_of(b""), "has neither the columns"),
        (table_of(b"path\ttext\n"), "has neither the columns"),
        (table_of(b"\xff\xff"), "cannot be read"),
        (table_of(b"path\tsentence\n\tx\n"), "line 2 names no recording"),
        (kaldi_of(wav_scp="u1 sox x.wav -t wav - |"), "'u1' is a command, which is not run"),
        (kaldi_of(wav_scp="u1 a.wav", segments="u1 rec1 0"), "'u1' is not followed by a recording and two times"),
        (kaldi_of(wav_scp="u1 a.wav", segments="u1 rec1 2 1"), "'u1' goes from 2 to 1 s"),
        (kaldi_of(wav_scp="u1 a.wav", segments="u1 rec1 nan 1"), "'u1' goes from nan to 1 s"),
    ],
)  # fmt: skip
def test_what_is_no_corpus_is_refused_in_one_line(
    make: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CorpusError, match=message) as caught:
        list(open_corpus(make(tmp_path)))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_any_other_file_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="is a file; give a folder"):
        open_corpus(write(tmp_path / "a.wav"))


def test_a_replaced_recording_has_another_stamp(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", 0.5)
    before = Utterance("a.wav", path).stamp
    assert Utterance("a.wav", path).stamp == before
    write(path, 0.6)
    assert Utterance("a.wav", path).stamp != before
    assert Utterance("a.wav", path, part=(0, 1)).stamp != Utterance("a.wav", path).stamp
    assert Utterance("a", b"1").stamp != Utterance("a", b"2").stamp
    shutil.rmtree(tmp_path)
    assert Utterance("a.wav", path).stamp


WORDS = st.text(string.ascii_letters + "äß'-", min_size=1, max_size=8)


@given(st.dictionaries(WORDS, st.lists(WORDS, max_size=4), max_size=6))
def test_lists_of_keys_and_texts_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, lists: dict[str, list[str]]
) -> None:
    path = tmp_path_factory.mktemp("lists") / "text"
    path.write_text("".join(f"{key} {' '.join(words)}\n" for key, words in lists.items()), encoding="utf-8")
    assert dict(read_lines(path)) == {key: " ".join(words) for key, words in lists.items()}
