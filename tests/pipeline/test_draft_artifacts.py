"""Artifacts with a draft: the same text with and without it, in every precision; and drafts that cannot be used."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewhisper.artifact import HEADS, STEP, load_manifest
from edgewhisper.bench.speculation import SpeculationBench
from edgewhisper.errors import ArtifactError, UsageError
from edgewhisper.export.model_file import load_model
from edgewhisper.pipeline.build import build, quantize
from edgewhisper.pipeline.inspect import inspect
from edgewhisper.pipeline.options import BuildOptions, Precision
from edgewhisper.runtime import draft_loader
from edgewhisper.runtime.contention import Timing
from edgewhisper.runtime.memory_budget import draft_memory, needs_low_memory, transcription_memory
from edgewhisper.runtime.options import DecodingOptions, Segment, SpeculationStatistics
from edgewhisper.runtime.speculation import costs
from edgewhisper.runtime.speculation.controller import MOST_PROPOSED
from edgewhisper.runtime.speculation.heads import HeadsDrafter
from edgewhisper.runtime.speculation.model import ModelDrafter
from edgewhisper.runtime.speculation.speculation import speculation_for
from edgewhisper.runtime.transcriber import Transcriber

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8", "int8-weight")
Artifact = Callable[[Precision], Path]


@pytest.fixture(scope="module", params=["shared:1", "heads"])
def artifact(
    request: pytest.FixtureRequest, small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    """Builds the small model with a draft of each kind, once for each precision."""
    folder, built = tmp_path_factory.mktemp("drafts"), dict[Precision, Path]()

    def make(precision: Precision) -> Path:
        if precision not in built:
            options = BuildOptions(precision=precision, draft=request.param, gate="off")
            built[precision] = build(small_checkpoint, folder / precision, options, parity=False)
        return built[precision]

    return make


@pytest.fixture(scope="module")
def sound() -> NDArray[np.float32]:
    """Three windows of the small model, of noise that comes and goes."""
    random = np.random.default_rng(3)
    noise = random.standard_normal(48_000) * np.sin(np.arange(48_000) / 3000)
    return np.asarray(noise / 4, np.float32)


def segments(transcriber: Transcriber, sound: NDArray[np.float32], options: DecodingOptions) -> list[Segment]:
    return list(transcriber.transcribe(sound, options)[0])


def assert_same_text(
    artifact: Path,
    sound: NDArray[np.float32],
    timestamps: bool,
    lengths: Sequence[object],
    temperature: object,
) -> None:
    transcriber = Transcriber(artifact, threads=2)
    options = {
        "timestamps": timestamps, "language": "en", "no_speech_threshold": None, "temperature": temperature,
    }  # fmt: skip
    plain = segments(transcriber, sound, DecodingOptions(**options, speculate="off"))  # type: ignore[arg-type]
    assert plain
    for speculate in lengths:
        found = segments(transcriber, sound, DecodingOptions(**options, speculate=speculate))  # type: ignore[arg-type]
        assert found == plain


@pytest.mark.parametrize(
    ("precision", "timestamps"), [("fp32", True), ("int8", True), ("int8", False), ("int8-weight", False)]
)
def test_text_and_probabilities_are_those_without_a_draft(
    precision: Precision, timestamps: bool, artifact: Artifact, sound: NDArray[np.float32]
) -> None:
    assert_same_text(artifact(precision), sound[:30_000], timestamps, (1, 4, 16, "auto"), 0.0)


def test_draws_at_higher_temperatures_are_those_without_a_draft(
    artifact: Artifact, sound: NDArray[np.float32]
) -> None:
    assert_same_text(artifact("int8"), sound[:30_000], False, (3, "auto"), (0.0, 0.4, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_text_is_that_without_a_draft_however_much_is_guessed(
    precision: Precision, timestamps: bool, artifact: Artifact, sound: NDArray[np.float32]
) -> None:
    temperatures = DecodingOptions.temperature
    assert_same_text(artifact(precision), sound, timestamps, (*range(1, 17), "auto"), temperatures)


def test_what_was_guessed_is_counted(artifact: Artifact, sound: NDArray[np.float32]) -> None:
    transcriber = Transcriber(artifact("fp32"))
    stream, info = transcriber.transcribe(sound, DecodingOptions(language="en", speculate=4, temperature=0.0))
    list(stream)
    found = info.statistics.speculation
    assert 0 < found.verifications <= info.statistics.tokens
    assert found.verifications <= found.proposed <= 4 * found.verifications
    assert 0 <= found.accepted <= found.proposed
    assert 0 < found.draft_seconds < info.statistics.decoder_seconds


def test_the_draft_reads_the_main_models_keys_and_table(artifact: Artifact) -> None:
    for precision in PRECISIONS:
        manifest = load_manifest(artifact(precision))
        draft, decoder = manifest.graph("draft"), manifest.graph("decoder")
        assert draft.kind in (STEP, HEADS)
        assert draft.precision == decoder.precision
        assert (draft.embedding, draft.embedding_scales) == (decoder.embedding, decoder.embedding_scales)
        crossing = {info for info in draft.inputs if "_cross_" in info.name}
        assert len(crossing) == 2
        assert crossing < set(decoder.inputs)
        assert draft.head_tokens is not None
        assert draft.outputs[0].shape[-1] == len(draft.head_tokens)


def test_costs_are_measured_once_for_a_device(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWHISPER_STATE", str(tmp_path))
    monkeypatch.setattr(costs, "timed", lambda: nullcontext(Timing()))  # nobody disturbs it
    first = Transcriber(artifact("fp32"))._model.load_draft(False)
    assert first is not None
    assert first.costs.rows[0] == 1.0
    assert list(first.costs.rows) == sorted(first.costs.rows)
    assert len(first.costs.rows) == MOST_PROPOSED + 1
    stored = json.loads((tmp_path / "state.json").read_text())["step_costs"]
    (key,) = stored
    stored[key][-5] = 123.0
    (tmp_path / "state.json").write_text(json.dumps({"step_costs": stored}))
    again = Transcriber(artifact("fp32"))._model.load_draft(False)
    assert again is not None
    assert again.costs.first == 123.0


def test_costs_that_others_disturbed_are_measured_again_a_few_times(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWHISPER_STATE", str(tmp_path))
    measured: list[float] = []

    @contextmanager
    def disturbed() -> Iterator[Timing]:
        measured.append(1.0)
        yield Timing(waited=0.3)

    monkeypatch.setattr(costs, "timed", disturbed)
    for expected in (1, 2, 3, 3, 3):
        assert Transcriber(artifact("fp32"))._model.load_draft(False) is not None
        assert len(measured) == expected


def test_decoding_goes_on_without_a_draft_that_cannot_be_loaded(
    artifact: Artifact, sound: NDArray[np.float32], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = artifact("fp32")
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in whole.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((broken / "manifest.json").read_text())
    manifest["graphs"]["draft"]["head_tokens"] = [1, 2, 3]
    (broken / "manifest.json").write_text(json.dumps(manifest))
    options = DecodingOptions(language="en", temperature=0.0)
    with caplog.at_level(logging.WARNING):
        found = segments(Transcriber(broken), sound, options)
    assert "decoding goes on without a draft" in caplog.text
    assert found == segments(Transcriber(whole), sound, options)


def test_whole_numbers_of_numpy_are_numbers(artifact: Artifact, sound: NDArray[np.float32]) -> None:
    transcriber = Transcriber(artifact("fp32"))
    counts = []
    for speculate in (3, np.int64(3)):
        options = DecodingOptions(language="en", temperature=0.0, speculate=speculate)  # type: ignore[arg-type]
        stream, info = transcriber.transcribe(sound, options)
        list(stream)
        counts.append(info.statistics.speculation.proposed)
    assert counts[0] == counts[1] > 0


def test_quantizing_keeps_the_draft_and_its_record(artifact: Artifact, tmp_path: Path) -> None:
    whole = artifact("fp32")
    options = BuildOptions(precision="int8-weight", gate="off")
    manifest = load_manifest(quantize(whole, tmp_path / "small", options))
    assert manifest.graph("draft").precision == "int8-weight"
    assert manifest.build.options["draft"] == load_manifest(whole).build.options["draft"]


@pytest.mark.parametrize("speculate", [0, -1, 1.5, "often", True])
def test_numbers_that_cannot_be_meant_are_refused(speculate: object) -> None:
    with pytest.raises(UsageError, match=r"speculate .* is not valid; give auto, off, or a whole number"):
        DecodingOptions(speculate=speculate)  # type: ignore[arg-type]


def test_more_than_the_cache_holds_is_refused(artifact: Artifact, sound: NDArray[np.float32]) -> None:
    with pytest.raises(UsageError, match="speculate 1000: the decoder has room for"):
        Transcriber(artifact("fp32")).transcribe(sound, DecodingOptions(speculate=1000))


def test_the_benchmark_imposes_the_acceptance_that_it_is_told(artifact: Artifact) -> None:
    bench = SpeculationBench(artifact("fp32"), threads=1)
    never, half, always = (bench.run(rate, 60, 1) for rate in (0.0, 0.5, 1.0))
    assert never.accepted == 0
    assert always.accepted == always.proposed > 0
    assert half.accepted <= half.proposed
    assert never.accepted <= half.accepted < always.accepted
    assert all(gain.speedup > 0 for gain in (never, half, always))


def test_where_rows_are_not_exact_auto_guesses_only_if_allowed(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    for exact in (True, False):
        monkeypatch.setattr(draft_loader, "steps_are_exact", lambda *_, exact=exact: exact)
        load = Transcriber(artifact("fp32"))._model.load_draft
        for options, guesses in (
            (DecodingOptions(), exact),
            (DecodingOptions(allow_inexact=True), True),
            (DecodingOptions(speculate=3), True),
            (DecodingOptions(), exact),  # also once it is loaded
        ):
            found = speculation_for(options, load, SpeculationStatistics())
            assert (found is not None) is guesses


@pytest.mark.parametrize("method", ["begin", "propose", "end"])
def test_a_draft_that_fails_while_it_is_used_is_left(
    artifact: Artifact, sound: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, method: str,
) -> None:  # fmt: skip
    plain = segments(
        Transcriber(artifact("fp32")), sound, DecodingOptions(language="en", temperature=0.0, speculate="off")
    )

    def failing(self: object, *arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(HeadsDrafter, method, failing)
    monkeypatch.setattr(ModelDrafter, method, failing)
    found = segments(
        Transcriber(artifact("fp32")), sound, DecodingOptions(language="en", temperature=0.0, speculate=3)
    )
    assert found == plain
    assert caplog.text.count("the draft failed (MemoryError); decoding goes on without it") == 1


@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "link"])
def test_a_missing_or_damaged_file_of_the_draft_costs_a_warning(
    artifact: Artifact,
    sound: NDArray[np.float32],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(artifact("fp32"), broken)
    file = broken / "draft.onnx"
    content = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(content[:-10])
    elif damage == "changed":
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "link":
        file.symlink_to(artifact("fp32") / "draft.onnx")
    options = DecodingOptions(language="en", temperature=0.0)
    found = segments(Transcriber(broken), sound, options)
    assert "decoding goes on without a draft" in caplog.text
    assert "draft.onnx" in caplog.text
    assert found == segments(Transcriber(artifact("fp32")), sound, options)
    with pytest.raises(ArtifactError, match=r"draft\.onnx"):  # what looks after artifacts says so
        inspect(broken)


def test_a_draft_that_is_not_wanted_is_not_loaded() -> None:
    def load(although_inexact: bool) -> None:
        raise AssertionError("loaded")

    assert speculation_for(DecodingOptions(speculate="off"), load, SpeculationStatistics()) is None


def test_a_memory_limit_counts_the_draft(artifact: Artifact, small_checkpoint: Path, tmp_path: Path) -> None:
    folder = artifact("fp32")
    manifest = load_manifest(folder)
    model = load_model(folder / manifest.graph("draft").file)
    shapes = {name: value.shape.numpy() for name, value in model.graph.initializers.items() if value.shape}
    weights = 4 * sum(
        int(np.prod(shape))
        for name, shape in shapes.items()
        if len(shape) == 2 and "embed_positions" not in name
    )
    cache = sum(
        4 * int(np.prod([int(size) for size in info.shape[1:]]))
        for info in manifest.graph("draft").inputs
        if "_self_" in info.name
    )
    assert draft_memory(manifest) == pytest.approx(weights + cache, rel=0.05)
    plain = load_manifest(build(small_checkpoint, tmp_path / "plain", BuildOptions(), parity=False))
    assert draft_memory(plain) == 0
    fits = transcription_memory(manifest.dimensions, "fp32", "fp32", low_memory=False)
    assert not needs_low_memory(plain, fits)
    with pytest.raises(UsageError, match="this artifact needs about"):
        needs_low_memory(manifest, fits)
