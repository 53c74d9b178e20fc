"""`edgewhisper transcribe` with the bundled model; what the Python interface gives is what it must write."""

import io
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgewhisper import Segment, Transcriber
from edgewhisper.runtime.writers import WRITERS
from tests.conftest import BundledRecording, Command

CLOSING_LINE = re.compile(
    r"^[\d.]+ s of audio in [\d.]+ s, real-time factor [\d.]+, first token after [\d.]+ s, peak memory \d+ MB$",
    re.M,
)


@pytest.fixture(scope="module")
def segments(demo_artifact: Path, speech: Path) -> list[Segment]:
    return list(Transcriber(demo_artifact).transcribe(speech)[0])


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch, speech: Path) -> bytes:
    """The samples of `speech`, as raw PCM on standard input."""
    samples, _ = soundfile.read(speech, dtype="int16")
    data: bytes = samples.astype("<i2").tobytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    return data


def test_text_is_printed_and_the_run_is_summed_up(
    command: Command, demo_artifact: Path, speech: Path, segments: list[Segment]
) -> None:
    outcome = command("transcribe", speech, "-a", demo_artifact)
    assert outcome.code == 0
    assert outcome.out == "".join(f"{segment.text.strip()}\n" for segment in segments)
    assert CLOSING_LINE.fullmatch(outcome.err.rstrip("\n"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_holds_what_standard_output_would(
    name: str, command: Command, demo_artifact: Path, speech: Path, tmp_path: Path
) -> None:
    printed = command("transcribe", speech, "-a", demo_artifact, "--format", name)
    to_file = command("transcribe", speech, "-a", demo_artifact, "--format", name, "-o", tmp_path)
    assert (printed.code, to_file.code, to_file.out) == (0, 0, "")
    assert (tmp_path / f"{speech.stem}.{name}").read_text(encoding="utf-8") == printed.out != ""
    assert len(list(tmp_path.iterdir())) == 1


def test_json_has_the_segments(
    command: Command, demo_artifact: Path, speech: Path, segments: list[Segment]
) -> None:
    result = json.loads(command("transcribe", speech, "-a", demo_artifact, "--format", "json").out)
    assert [found["text"] for found in result["segments"]] == [segment.text for segment in segments]
    assert [tuple(found["tokens"]) for found in result["segments"]] == [
        segment.tokens for segment in segments
    ]


def test_the_artifact_can_come_from_the_environment(
    command: Command, demo_artifact: Path, speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWHISPER_ARTIFACT", str(demo_artifact))
    assert command("transcribe", speech).code == 0


def test_standard_input_is_a_recording(
    command: Command, demo_artifact: Path, segments: list[Segment], piped: bytes, tmp_path: Path
) -> None:
    outcome = command("transcribe", "-", "--raw", "s16le:16000:1", "-a", demo_artifact, "-o", tmp_path)
    assert outcome.code == 0
    assert (tmp_path / "stdin.txt").read_text() == "".join(
        f"{segment.text.strip()}\n" for segment in segments
    )


def test_one_bad_recording_does_not_stop_the_others(
    command: Command, demo_artifact: Path, speech: Path, segments: list[Segment], tmp_path: Path
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound in here")
    outcome = command("transcribe", tmp_path / "bad.wav", speech, tmp_path / "none.wav", "-a", demo_artifact)
    assert outcome.code == 1
    assert outcome.out == "".join(f"{segment.text.strip()}\n" for segment in segments)
    errors = [line for line in outcome.err.splitlines() if line.startswith("edgewhisper: error: ")]
    assert ["bad.wav" in errors[0], "none.wav" in errors[1], len(errors)] == [True, True, 2]
    assert CLOSING_LINE.search(outcome.err)


def test_an_existing_transcript_is_found_before_anything_is_decoded(
    command: Command, speech: Path, tmp_path: Path
) -> None:
    (tmp_path / f"{speech.stem}.txt").write_text("precious")
    command("transcribe", speech, "-a", tmp_path / "no artifact is read", "-o", tmp_path).assert_refused(
        2, "--overwrite"
    )
    assert (tmp_path / f"{speech.stem}.txt").read_text() == "precious"


def test_no_real_time_factor_of_a_moment(command: Command, demo_artifact: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "click.wav", np.zeros(1), 16_000)
    outcome = command("transcribe", tmp_path / "click.wav", "-a", demo_artifact)
    assert outcome.code == 0
    assert "0.0 s of audio in" in outcome.err
    assert "real-time factor" not in outcome.err


def test_verbose_says_language_segments_and_times(
    command: Command, demo_artifact: Path, speech: Path
) -> None:
    outcome = command("transcribe", speech, "-a", demo_artifact, "--verbose", "--language", "en")
    assert "average log-probability" in outcome.err
    assert f"{speech}: language en (1.00); 1 windows" in outcome.err


def test_options_reach_the_decoder(command: Command, demo_artifact: Path, speech: Path) -> None:
    outcome = command(
        "transcribe", speech, "-a", demo_artifact, "--format", "json", "--no-timestamps", "--temperature", "0.4",
        "--language", "English", "--initial-prompt", "Hello.", "--threads", "1", "--verify",
    )  # fmt: skip
    result = json.loads(outcome.out)
    assert result["language"] == "en"
    assert {segment["temperature"] for segment in result["segments"]} <= {0.4}


def test_a_long_run_without_a_terminal_tells_how_far_it_is(
    command: Command,
    demo_artifact: Path,
    recordings: Sequence[BundledRecording],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgewhisper.cli.progress.SECONDS_BETWEEN_LINES", 0.0)
    samples = np.concatenate(
        [soundfile.read(recording.path, dtype="int16")[0] for recording in recordings[:8]]
    )
    soundfile.write(tmp_path / "long.wav", samples, 16_000)
    outcome = command("transcribe", tmp_path / "long.wav", "-a", demo_artifact)
    seconds = len(samples) / 16_000
    lines = re.findall(rf"long\.wav: (\d+) of {seconds:.0f} s", outcome.err)
    done = [int(line) for line in lines]
    assert len(done) > 1
    assert done == sorted(done)
    assert done[-1] == round(seconds)


def test_recordings_together_are_written_like_one_by_one(
    command: Command, demo_artifact: Path, recordings: Sequence[BundledRecording], tmp_path: Path
) -> None:
    paths = [recording.path for recording in recordings[:5]]
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    for name, extra in (("one", ()), ("together", ("--batch", "3"))):
        outcome = command(
            "transcribe", *paths[:3], tmp_path / "broken.wav", *paths[3:], "-a", demo_artifact,
            "--format", "srt", "-o", tmp_path / name, *extra,
        )  # fmt: skip
        assert outcome.code == 1
        assert "broken.wav" in outcome.err
    written = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert len(written) == 5
    assert {path.name: path.read_bytes() for path in (tmp_path / "together").iterdir()} == written


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_a_batch_that_cannot_be_meant_is_bad_usage(
    value: str, command: Command, demo_artifact: Path, speech: Path
) -> None:
    outcome = command("transcribe", speech, "-a", demo_artifact, "--batch", value)
    assert outcome.code == 2
    assert f"'{value}' is not auto or a number of windows" in outcome.err


def test_the_only_recording_of_a_batch_that_cannot_be_read_is_an_error(
    command: Command, demo_artifact: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    outcome = command("transcribe", tmp_path / "broken.wav", "-a", demo_artifact, "--batch", "auto")
    assert outcome.code == 1
    assert outcome.err.count("broken.wav") == 1
