"""The transcriber on real graphs and real features, against transformers' feature extractor and `generate`."""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edgewhisper.artifact import TOKENIZER, TOKENS, FileInfo, sha256_of
from edgewhisper.errors import ArtifactError, AudioError, IntegrityError, ProviderError, UsageError
from edgewhisper.runtime.bpe import byte_letters
from edgewhisper.runtime.transcriber import DecodingOptions, Segment, Transcriber
from edgewhisper.runtime.vocabulary import pack_tokens
from tests import scripted
from tests.small_models import export, random_checkpoint, random_tensors, transformers_model

RATE = 16_000
DIMENSIONS = dataclasses.replace(
    scripted.DIMENSIONS, n_mels=80, d_model=96, encoder_layers=2, encoder_ffn=384, decoder_layers=2, decoder_ffn=384,
)  # fmt: skip
GREEDY = DecodingOptions(
    language="en",
    temperature=0.0,
    logprob_threshold=None,
    no_speech_threshold=None,
    compression_ratio_threshold=None,
)


def weights() -> dict[str, NDArray[np.float32]]:
    """Random weights that write a timestamp or end of text now and then."""
    tensors = random_tensors(DIMENSIONS, seed=3)
    tensors["decoder.embed_tokens.weight"][scripted.BEGIN :] *= 0.3
    return tensors


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifact")
    checkpoint = dataclasses.replace(
        random_checkpoint(DIMENSIONS),
        tensors=weights(),
        token_ids=dataclasses.replace(scripted.TOKENS, suppress=()),
    )
    manifest = export(checkpoint, folder)
    letters = byte_letters()
    vocabulary = {
        letter: i for i, letter in enumerate([*letters[ord("a") : ord("z") + 1], letters[ord(" ")]])
    }
    (folder / TOKENIZER).write_text(
        json.dumps(
            {
                "model": {"vocab": vocabulary | dict.fromkeys(letters, 99) | vocabulary, "merges": []},
                "added_tokens": [],
            }
        )
    )
    (folder / TOKENS).write_bytes(pack_tokens([b" w%d" % token for token in range(DIMENSIONS.vocab_size)]))
    files = tuple(
        FileInfo(path.name, path.stat().st_size, sha256_of(path)) for path in sorted(folder.iterdir())
    )
    (folder / "manifest.json").write_text(dataclasses.replace(manifest, files=files).to_json())
    return folder


@pytest.fixture(scope="module", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWHISPER_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module")
def transcriber(artifact: Path) -> Transcriber:
    return Transcriber(artifact, threads=1)


@pytest.fixture(scope="module")
def oracle() -> Callable[..., list[Any]]:
    """Segments of transformers' own feature extractor and `generate`, in float64."""
    from transformers import GenerationConfig, WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=2)
    model = transformers_model(DIMENSIONS, weights())
    end = scripted.END
    model.generation_config = GenerationConfig(
        pad_token_id=end, bos_token_id=end, eos_token_id=end, decoder_start_token_id=scripted.START,
        max_length=DIMENSIONS.max_target_positions, is_multilingual=True, no_timestamps_token_id=scripted.NO_TIMESTAMPS,
        lang_to_id={f"<|{code}|>": token for code, token in scripted.TOKENS.languages.items()},
        task_to_id={"transcribe": scripted.TRANSCRIBE, "translate": scripted.TRANSLATE},
        prev_sot_token_id=scripted.PREVIOUS, begin_suppress_tokens=list(scripted.TOKENS.begin_suppress),
        max_initial_timestamp_index=scripted.TOKENS.max_initial_timestamp_index,
    )  # fmt: skip
    model.config.pad_token_id = model.config.eos_token_id = end

    def transcribe(samples: NDArray[np.float32], **options: Any) -> list[Any]:
        long_form = {} if len(samples) <= 2 * RATE else {"truncation": False, "padding": "longest"}
        features = extractor(
            samples, sampling_rate=RATE, return_tensors="pt", **long_form
        ).input_features.double()
        generated = model.generate(
            features, temperature=0.0, return_segments=True, task="transcribe", **options
        )
        return list(generated["segments"][0])

    return transcribe


def tones(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Something that changes all the time: a chirp with a beat, and noise."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    signal = np.sin(2 * np.pi * (300 + 150 * np.sin(2 * np.pi * 0.37 * time)) * time) * np.sin(
        2 * np.pi * 1.3 * time
    )
    return (0.3 * signal + 0.02 * random.standard_normal(time.size)).astype(np.float32)


def with_text(expected: list[Any]) -> list[list[int]]:
    tokens = [item["tokens"].tolist() for item in expected]
    return [segment for segment in tokens if any(token < scripted.END for token in segment)]


@pytest.mark.parametrize("language", ["en", None])
@pytest.mark.parametrize("seconds", [0.5, 1.7, 2.0, 3.1, 12.37])
def test_tokens_are_those_of_transformers(
    transcriber: Transcriber, oracle: Callable[..., list[Any]], seconds: float, language: str | None
) -> None:
    samples = tones(seconds)
    segments, info = transcriber.transcribe(samples, dataclasses.replace(GREEDY, language=language))
    expected = oracle(samples, language=language, return_timestamps=True)
    assert [list(segment.tokens) for segment in segments] == with_text(expected)
    assert info.duration == pytest.approx(seconds)


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_tokens_without_timestamps_are_those_of_transformers(
    transcriber: Transcriber, oracle: Callable[..., list[Any]], seconds: float
) -> None:
    samples = tones(seconds, seed=1)
    segments, _ = transcriber.transcribe(samples, dataclasses.replace(GREEDY, timestamps=False))
    assert [list(segment.tokens) for segment in segments] == with_text(
        oracle(samples, language="en", return_timestamps=False)
    )


def test_a_prompt_and_previous_text_are_read_as_by_transformers(
    transcriber: Transcriber, oracle: Callable[..., list[Any]]
) -> None:
    import torch

    samples = tones(8.5)
    options = dataclasses.replace(GREEDY, initial_prompt="some words", condition_on_previous_text=True)
    segments, _ = transcriber.transcribe(samples, options)
    ids = [26 if letter == " " else ord(letter) - ord("a") for letter in " some words"]
    prompt = torch.tensor([scripted.PREVIOUS, *ids])
    expected = oracle(
        samples, language="en", return_timestamps=True, condition_on_prev_tokens=True, prompt_ids=prompt
    )
    assert [list(segment.tokens) for segment in segments] == with_text(expected)


def test_path_file_object_and_array_give_the_same_text(transcriber: Transcriber, tmp_path: Path) -> None:
    samples = tones(3.3)
    path = tmp_path / "tones.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    results = [
        list(transcriber.transcribe(audio, GREEDY)[0])
        for audio in (samples, path, str(path), io.BytesIO(path.read_bytes()))
    ]
    assert results[0]
    assert all(result == results[0] for result in results)


def test_an_array_may_have_another_rate(transcriber: Transcriber) -> None:
    segments, info = transcriber.transcribe(np.zeros(44_100 * 3, np.float32), GREEDY, sample_rate=44_100)
    list(segments)
    assert info.duration == pytest.approx(3.0)


def test_a_sample_rate_of_nothing_is_an_error(transcriber: Transcriber) -> None:
    with pytest.raises(AudioError, match="sample rate of 0"):
        transcriber.transcribe(tones(0.5), GREEDY, sample_rate=0)


@pytest.mark.parametrize("form", ["path", "file object"])
def test_a_sample_rate_of_what_states_its_own_is_an_error(
    transcriber: Transcriber, tmp_path: Path, form: str
) -> None:
    path = tmp_path / "tones.wav"
    soundfile.write(path, tones(0.5), RATE)
    with pytest.raises(UsageError, match="sample_rate is for arrays"):
        transcriber.transcribe(path if form == "path" else io.BytesIO(path.read_bytes()), sample_rate=8_000)


def test_text_is_that_of_the_tokens(transcriber: Transcriber) -> None:
    segment = next(transcriber.transcribe(tones(2.0), GREEDY)[0])
    assert isinstance(segment, Segment)
    assert segment.text == "".join(f" w{token}" for token in segment.tokens if token < scripted.END)


def test_a_recording_that_cannot_be_read_is_an_error_at_once(
    transcriber: Transcriber, tmp_path: Path
) -> None:
    with pytest.raises(AudioError):
        transcriber.transcribe(tmp_path / "missing.wav")


def test_an_option_of_other_models_is_an_error_at_once(transcriber: Transcriber) -> None:
    with pytest.raises(UsageError, match="choose one of: de, en"):
        transcriber.transcribe(tones(0.5), DecodingOptions(language="french"))


def test_the_file_is_closed_after_the_last_segment_or_when_the_rest_is_not_wanted(
    transcriber: Transcriber, tmp_path: Path
) -> None:
    path = tmp_path / "tones.wav"
    soundfile.write(path, tones(9.0), RATE)
    before = open_files()
    segments, _ = transcriber.transcribe(path, GREEDY)
    next(segments)
    segments.close()  # type: ignore[attr-defined]
    assert open_files() == before
    assert list(segments) == []
    list(transcriber.transcribe(path, GREEDY)[0])
    assert open_files() == before


def test_the_file_is_closed_when_no_segment_is_ever_taken(transcriber: Transcriber, tmp_path: Path) -> None:
    path = tmp_path / "tones.wav"
    soundfile.write(path, tones(9.0), RATE)
    before = open_files()
    segments, _ = transcriber.transcribe(path, GREEDY)
    assert open_files() > before
    del segments
    assert open_files() == before


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_damaged_file_is_found_at_the_first_use(artifact: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in artifact.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tokens = bytearray((folder / TOKENS).read_bytes())
    tokens[-1] ^= 1
    (folder / TOKENS).write_bytes(tokens)
    with pytest.raises(IntegrityError, match=r"tokens\.bin"):
        Transcriber(folder)


def test_what_cannot_be_loaded_is_an_error(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        Transcriber(tmp_path / "missing")
    with pytest.raises(UsageError, match="unknown provider"):
        Transcriber(artifact, provider="abacus")
    with pytest.raises(ProviderError):
        Transcriber(artifact, provider="coreml")
    with pytest.raises(UsageError, match="'cpu' has none"):
        Transcriber(artifact, provider_options={"fast": "yes"})
