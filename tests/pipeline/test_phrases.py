"""Phrases as a draft: built into an artifact, looked up while it transcribes."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgewhisper.artifact import PHRASES as FILE
from edgewhisper.artifact import load_manifest
from edgewhisper.errors import UsageError
from edgewhisper.pipeline.build import build, quantize
from edgewhisper.pipeline.options import BuildOptions
from edgewhisper.runtime.options import DecodingOptions
from edgewhisper.runtime.speculation.phrases import Phrases
from edgewhisper.runtime.transcriber import Transcriber
from tests.conftest import BundledRecording

GREEDY = DecodingOptions(temperature=0.0, speculate="off", timestamps=False)


@pytest.fixture(scope="module")
def corpus(recordings: Sequence[BundledRecording], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is said in the recordings, as if it were known before."""
    path = tmp_path_factory.mktemp("corpus") / "phrases.txt"
    path.write_text("\n".join(["", *(recording.text for recording in recordings)]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def artifact(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = BuildOptions(draft=f"ngram:{corpus}")
    return build("demo", tmp_path_factory.mktemp("artifact") / "demo", options, parity=False)


def test_known_phrases_are_guessed(artifact: Path, recordings: Sequence[BundledRecording]) -> None:
    transcriber = Transcriber(artifact)
    counts: dict[int | str, list[int]] = {4: [0, 0], "auto": [0, 0]}
    for recording in recordings[:12]:
        plain = [segment.tokens for segment in transcriber.transcribe(recording.path, GREEDY)[0]]
        for speculate in counts:
            options = DecodingOptions(temperature=0.0, speculate=speculate, timestamps=False)  # type: ignore[arg-type]
            segments, info = transcriber.transcribe(recording.path, options)
            assert [segment.tokens for segment in segments] == plain
            counts[speculate][0] += info.statistics.speculation.proposed
            counts[speculate][1] += info.statistics.speculation.accepted
    for proposed, accepted in counts.values():
        assert accepted > 0.5 * proposed > 0


def test_the_artifact_says_what_it_has_and_keeps_it(artifact: Path, tmp_path: Path) -> None:
    manifest = load_manifest(artifact)
    count = len(Phrases.read(artifact / FILE, load_manifest(artifact).dimensions.vocab_size).tokens)
    assert manifest.build.options["draft"] == f"ngram ({count} tokens)"
    small = quantize(artifact, tmp_path / "small", BuildOptions(precision="int8-weight", gate="off"))
    assert (small / FILE).read_bytes() == (artifact / FILE).read_bytes()
    assert load_manifest(small).build.options["draft"] == manifest.build.options["draft"]


def test_without_a_corpus_the_text_so_far_is_looked_up(tmp_path: Path, speech: Path) -> None:
    artifact = build("demo", tmp_path / "demo", BuildOptions(draft="ngram"), parity=False)
    transcriber = Transcriber(artifact)
    plain = [segment.text for segment in transcriber.transcribe(speech, GREEDY)[0]]
    segments, _ = transcriber.transcribe(
        speech, DecodingOptions(temperature=0.0, speculate=3, timestamps=False)
    )
    assert [segment.text for segment in segments] == plain


def test_damaged_phrases_are_warned_of_and_left(
    artifact: Path, speech: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in artifact.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    size = (broken / FILE).stat().st_size
    (broken / FILE).write_bytes(bytes(size))
    manifest = json.loads((broken / "manifest.json").read_text())
    manifest["files"] = [{**info, "sha256": sha256(broken / info["name"])} for info in manifest["files"]]
    (broken / "manifest.json").write_text(json.dumps(manifest))
    segments, _ = Transcriber(broken).transcribe(speech, DecodingOptions(speculate=4))
    assert list(segments)
    assert "decoding goes on without a draft" in caplog.text


def sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"", "has no text"),
        (b" \n\n", "has no text"),
        (b"\xff\xfe\x00", "is no UTF-8 text"),
    ],
)
def test_a_corpus_that_cannot_be_used_is_one_line(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "phrases.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=words) as caught:
        build("demo", tmp_path / "out", BuildOptions(draft=f"ngram:{path}"), parity=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_earlier_decoding_is_guessed_first(artifact: Path, speech: Path) -> None:
    transcriber = Transcriber(artifact)
    plain = [token for segment in transcriber.transcribe(speech, GREEDY)[0] for token in segment.tokens]
    for hypothesis, least in ((plain, 0.8), (plain[::-1], -1), ([*plain[:3], 5, *plain[4:]], 0.5)):
        options = DecodingOptions(temperature=0.0, timestamps=False, speculate=8, hypothesis=hypothesis)
        segments, info = transcriber.transcribe(speech, options)
        assert [token for segment in segments for token in segment.tokens] == plain
        assert info.statistics.speculation.accepted > least * len(plain)
    with pytest.raises(UsageError, match="hypothesis"):
        transcriber.transcribe(speech, DecodingOptions(hypothesis=[10**6]))
