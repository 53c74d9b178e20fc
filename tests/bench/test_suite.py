"""A whole run of the benchmark: what it writes, and what it refuses."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile

from edgewhisper.artifact import load_manifest
from edgewhisper.bench import clips, speculation, speed, suite
from edgewhisper.bench.clips import tokens_of, write_clip
from edgewhisper.bench.engines.ours import FORMS, STUDENT, _student, parse_form
from edgewhisper.bench.machine import this_machine
from edgewhisper.bench.measure import Wanted
from edgewhisper.bench.roofline import Limits, stages
from edgewhisper.bench.run import (
    Gain,
    Machine,
    Model,
    Run,
    Spread,
    Variant,
    WinogradError,
    read_run,
    write_run,
)
from edgewhisper.bench.suite import Plan, run_plan
from edgewhisper.bench.table import format_model
from edgewhisper.bench.workers import Contestant
from edgewhisper.errors import OutputError, UsageError
from edgewhisper.models.cards import find_card
from edgewhisper.models.checkpoint import expected_shapes
from edgewhisper.models.generation import find_token_ids
from edgewhisper.models.random_weights import write_random_folder
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.models.whisper_vocabulary import whisper_vocabulary
from edgewhisper.runtime.workload import encoder_macs, encoder_weights, step_weights
from tests.conftest import Command

RUN = Run(
    "2026-01-01T00:00:00+00:00",
    Machine("some processor", "x86_64", 2, 8 * 10**9, "Linux", "3.11", ("avx2",)),
    (
        Model(
            "tiny.en", True, 100,
            (Variant("a", "edgewhisper", "int8", step_ms={"1": Spread.of([1.0, 3.0, 2.0])}), Variant("b", "peer", "", failure="gone")),
            (Gain(0.75, 1.5, 2.8, True),),
        ),
    ),
    {"edgewhisper": "1"},
    winograd=(WinogradError("F(4,3)", 0.9, "fp32", 1e-7, 2e-7),),
    temperatures=((0.0, 41.5),),
    throttled=False,
)  # fmt: skip


def test_a_run_is_read_back(tmp_path: Path) -> None:
    write_run(RUN, tmp_path / "run.json")
    assert read_run(tmp_path / "run.json") == RUN
    assert RUN.models[0].variants[0].step_ms["1"] == Spread(2.0, 1.0, 3.0, 3)


def test_a_run_of_before_there_were_gpus_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_run(RUN, path)
    content = json.loads(path.read_text())
    del content["machine"]["gpu"], content["models"][0]["variants"][0]["same_text"]
    del content["models"][0]["gains"][0]["same_text"]
    path.write_text(json.dumps(content))
    assert read_run(path) == RUN


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "other"}, "is not a benchmark run"),
        ({"version": 2}, "version 2 is newer than 1"),
        ({"version": None}, "version None is newer"),
        ({"models": 3}, "run 'edgewhisper bench' again"),
        ({"machine": {}}, "run 'edgewhisper bench' again"),
    ],
)
def test_what_is_no_run_is_refused(change: dict[str, object], words: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_run(RUN, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UsageError, match=words) as caught:
        read_run(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_or_not_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_run(tmp_path / "gone.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UsageError, match="is not JSON"):
        read_run(tmp_path / "bad.json")
    with pytest.raises(OutputError, match="cannot be written"):
        write_run(RUN, tmp_path / "no" / "folder" / "run.json")


def test_forms_say_how_to_build_and_run() -> None:
    for form in FORMS:
        assert parse_form(form).build[0] == "--precision"
    assert parse_form("int8-low-memory").low_memory
    assert parse_form("int8-heads@0.75").acceptance == 0.75
    assert parse_form("/some/artifact").artifact == "/some/artifact"
    for wrong in ("int9", "int8@2", "int8@x", "some/artifact", ""):
        with pytest.raises(KeyError):
            parse_form(wrong)


def test_the_ladder_has_a_student_of_the_random_weights(tmp_path: Path) -> None:
    """With half of the decoder's layers, and it stops by itself at the same place."""
    assert STUDENT in suite.LADDER
    card = find_card("tiny.en")
    dimensions = replace(
        card.dimensions, d_model=64, encoder_heads=1, decoder_heads=1, encoder_ffn=64, decoder_ffn=64
    )
    vocabulary = whisper_vocabulary(dimensions.vocab_size)
    ids = find_token_ids(vocabulary.tokens, multilingual=False, source="test")
    write_random_folder(tmp_path / "checkpoint", dimensions, vocabulary, ids, tokens=5)
    main, student = read_checkpoint(tmp_path / "checkpoint"), read_checkpoint(_student(tmp_path))
    assert (main.dimensions.decoder_layers, student.dimensions.decoder_layers) == (4, 2)
    assert student.model.random_weights
    for name in ("decoder.embed_positions.weight", "decoder.embed_tokens.weight", "encoder.conv1.weight"):
        np.testing.assert_array_equal(student.tensors[name], main.tensors[name])


def test_the_bundled_artifact_is_measured_with_all_that_a_run_holds(
    demo_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (speed, clips):  # how undisturbed it is does not matter here
        monkeypatch.setattr(module, "PAUSE", 0.0)
        monkeypatch.setattr(module, "ATTEMPTS", 1)
    plan = Plan(
        models=(),
        artifacts=(demo_artifact,),
        threads=(1,),
        wanted=Wanted(clips=(1.0,), rounds=1),
        work=tmp_path,
        sustained=0.01,
    )
    lines: list[str] = []
    so_far: list[Run] = []
    run = run_plan(plan, "bench", tell=lines.append, keep=so_far.append)
    assert run.finished
    assert not any(each.finished for each in so_far)
    # A round, all of the speed, memory, and the model.
    known = [each.models[0].variants[0] for each in so_far]
    assert [variant.encoder_ms is not None for variant in known] == [True] * 4
    assert [bool(variant.clips) for variant in known] == [False, True, True, True]
    assert [variant.peak is not None for variant in known] == [False, False, True, True]
    for line in ("starting demo", "warm-up: demo", "round 1 of 1: demo", "memory of demo (1 of 1)"):
        assert f"demo: {line}" in lines
    (model,) = run.models
    (variant,) = model.variants
    assert (model.name, variant.name, model.random_weights) == ("demo", "demo", False)
    assert variant.failure is None
    for spread in (
        variant.load,
        variant.first_token_ms,
        variant.encoder_ms,
        variant.token_ms,
        variant.window_ms,
    ):
        assert spread is not None
        assert 0 < spread.low <= spread.median <= spread.high
    assert variant.window_ms is not None
    assert variant.encoder_ms is not None
    assert variant.window_ms.median > variant.encoder_ms.median
    assert set(variant.step_ms) == {"1", "2", "4", "8"}
    assert [clip.seconds for clip in variant.clips] == [1.0]
    assert variant.peak is not None
    assert variant.steady is not None
    assert 50e6 < variant.steady <= variant.peak
    assert variant.disk == sum(path.stat().st_size for path in demo_artifact.iterdir())
    assert [stage.name for stage in variant.stages] == [
        "encoder",
        "step of 1",
        "step of 2",
        "step of 4",
        "step of 8",
    ]
    assert len(variant.memory_over_time) >= 1
    write_run(run, tmp_path / "run.json")
    assert read_run(tmp_path / "run.json") == run
    assert "demo" in format_model(model)


def test_what_cannot_be_run_is_listed_with_the_reason_and_the_rest_is_measured(
    demo_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checkpoint(model: str, work: Path) -> None:
        work.mkdir(parents=True)

    monkeypatch.setattr(suite, "write_checkpoint", checkpoint)
    empty = tmp_path / "python"
    empty.write_text('#!/bin/sh\necho "No module named faster_whisper" >&2; exit 1\n')
    empty.chmod(0o755)
    forms = (str(demo_artifact), "fp16-cuda", "fp32-portable-cuda")
    plan = Plan(("tiny.en",), variants=forms, peers=("faster-whisper",), peers_python=str(empty),
                threads=(1,), wanted=Wanted(speed=False), work=tmp_path / "work")  # fmt: skip
    (model,) = run_plan(plan, "bench").models
    ours, *on_gpu, peer = model.variants
    assert ours.failure is None
    assert ours.peak is not None
    assert peer.failure == "No module named faster_whisper"
    assert "faster-whisper: No module named faster_whisper" in format_model(model)
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        for variant in on_gpu:
            assert variant.on_gpu
            assert variant.failure is not None
            assert re.match(r"this ONNX Runtime \(\S+\) has no provider 'cuda'", variant.failure)
            assert variant.peak is None


def test_gains_are_those_of_the_first_form_that_guesses_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Bench:
        def __init__(self, folder: Path, threads: int, provider: str) -> None:
            if provider == "cuda":
                raise RuntimeError(
                    "CUDA failure 2: out of memory\nmore"
                )  # as ONNX Runtime's, of no class of ours

        def run(self, acceptance: float, tokens: int, rounds: int) -> speculation.Gain:
            return speculation.Gain(acceptance, 3.0, 2.0, 40, 30, 10, 0, guessed=4, changed=1)

    monkeypatch.setattr(suite, "SpeculationBench", Bench)
    forms = ("int8", "fp16-cuda-heads@0.75", "int8-heads@0.75")
    contestants = [Contestant(f"edgewhisper-{form}", "python") for form in forms]
    gains = suite._gains(contestants, tmp_path, Plan(("tiny.en",)))
    assert gains[0] == Gain(0.0, 1.5, 4.0, imposed=True, same_text=0.75)
    assert [gain.acceptance for gain in gains] == [*suite.ACCEPTANCES]
    assert suite._gains(contestants[:2], tmp_path, Plan(("tiny.en",))) == ()
    line = "fp16-cuda-heads@0.75: its gains by acceptance are not measured (CUDA failure 2: out of memory)"
    assert capsys.readouterr().err.splitlines() == [line, line]


def test_the_terminal_shows_memory_on_the_gpu_and_texts_that_guesses_changed() -> None:
    first = replace(RUN.models[0].variants[0], device=700_000_000, same_text=0.75)
    lines = format_model(replace(RUN.models[0], variants=(first, *RUN.models[0].variants[1:]))).splitlines()
    assert "GPU MB" in lines[1]
    assert lines[3].endswith("700  guesses changed the text of 25% of the windows")
    assert "GPU MB" not in format_model(RUN.models[0])


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--variants", "int8,int9"], 2, "variant 'int9': there is none of that name; known: int8,"),
        (["--peer", "siri"], 2, "peer 'siri': there is none of that name; known: transformers,"),
        (["--model", "huge"], 1, "no model 'huge'"),
        (["--threads", "0"], 2, "--threads 0: give numbers above 0"),
        (["--clips", "1,x"], 2, "--clips 1,x: give numbers with commas between"),
        (["nowhere"], 1, "no such artifact folder"),
        (["--compare", "old.json", "new.json"], 2, "old.json: cannot be read"),
    ],
)
def test_what_means_nothing_is_refused(options: list[str], code: int, words: str, command: Command) -> None:
    command("bench", *options, "--no-speed").assert_refused(code, words)


def test_two_runs_are_compared_and_the_exit_code_says_what_became_worse(
    tmp_path: Path, command: Command
) -> None:
    def with_token_ms(milliseconds: float) -> Run:
        model = RUN.models[0]
        first = replace(model.variants[0], token_ms=Spread.of([milliseconds, milliseconds * 1.01]))
        return replace(RUN, models=(replace(model, variants=(first, *model.variants[1:])),))

    for name, run in (
        ("old", with_token_ms(5.0)),
        ("same", with_token_ms(5.01)),
        ("worse", with_token_ms(9.0)),
    ):
        write_run(run, tmp_path / f"{name}.json")
    same = command("bench", "--compare", tmp_path / "old.json", tmp_path / "same.json")
    worse = command("bench", "--compare", tmp_path / "old.json", tmp_path / "worse.json")
    better = command("bench", "--compare", tmp_path / "worse.json", tmp_path / "old.json")
    assert (same.code, worse.code, better.code) == (0, 1, 0)
    assert worse.out


def test_recordings_of_every_length_are_noise_with_as_many_tokens_as_they_are_long(tmp_path: Path) -> None:
    samples, rate = soundfile.read(write_clip(tmp_path, 3.0))
    assert len(samples) == 3 * rate
    assert 0.01 < float(np.std(samples)) < 0.2
    assert [tokens_of(seconds) for seconds in (0.1, 3.0, 30.0, 300.0)] == [1, 10, 100, 100]


def test_weights_are_those_of_the_checkpoint() -> None:
    """Counted from its tensors: matrices that a window or a step multiplies by, biases and norms left out."""
    dims = find_card("base.en").dimensions
    shapes = {
        name: shape
        for name, shape in expected_shapes(dims).items()
        if len(shape) > 1 and "embed_pos" not in name
    }
    of_encoder = [
        name
        for name in shapes
        if name.startswith("encoder.") or "encoder_attn.k" in name or "encoder_attn.v" in name
    ]
    assert encoder_weights(dims) == sum(math.prod(shapes[name]) for name in of_encoder)
    assert step_weights(dims) == sum(
        math.prod(shape) for name, shape in shapes.items() if name not in of_encoder
    )


def test_shares_of_the_limits_follow_from_times(demo_artifact: Path) -> None:
    manifest = load_manifest(demo_artifact)
    limits = Limits(bandwidth=1e10, fp32=1e11, int8=4e11)
    variant = Variant(
        "x",
        "edgewhisper",
        "fp32",
        encoder_ms=Spread.of([20.0]),
        step_ms={"1": Spread.of([1.0]), "8": Spread.of([1.0])},
    )
    encoder, one, eight = stages(manifest, variant, limits, past=60)
    assert encoder.of_peak == pytest.approx(encoder_macs(manifest.dimensions) / 0.02 / 1e11)
    assert encoder.bytes == 4 * encoder_weights(manifest.dimensions)
    assert one.of_bandwidth == eight.of_bandwidth == pytest.approx(one.bytes / 0.001 / 1e10)
    assert eight.macs == 8 * one.macs


def test_this_machine_is_described() -> None:
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.memory > 10**8
    assert machine.processor
