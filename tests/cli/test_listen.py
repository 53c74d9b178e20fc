"""`edgewhisper listen` as it is used: a microphone, a pipe, a recording that is played, and the signals that end it."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgewhisper.cli.heard import write_heard
from edgewhisper.runtime.listening.heard import Dropped, Heard, Partial, Utterance
from edgewhisper.runtime.protocols import Floats
from tests.conftest import BundledRecording, Command
from tests.fake_arecord import FakeArecord, install

EDGEWHISPER = Path(sys.executable).with_name("edgewhisper")
RATE = 16_000
DEVICES = """plughw:CARD=Device,DEV=0
    USB PnP Sound Device, USB Audio
    Hardware device with all software conversions
"""


@pytest.fixture
def arecord(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeArecord:
    return install(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def said(recordings: Sequence[BundledRecording]) -> list[BundledRecording]:
    """Two recordings in English."""
    return [each for each in recordings if each.path.stem in ("seen-004", "seen-010")]


def joined(recordings: Sequence[BundledRecording]) -> Floats:
    silence = np.zeros(RATE, np.float32)
    sounds = [np.concatenate((soundfile.read(each.path, dtype="float32")[0], silence)) for each in recordings]
    return np.concatenate((silence, *sounds))


@pytest.fixture
def played(said: list[BundledRecording], tmp_path: Path) -> Path:
    """A recording of what is said first, with a short pause after it."""
    soundfile.write(tmp_path / "played.wav", joined(said[:1])[RATE : -RATE // 3], RATE)
    return tmp_path / "played.wav"


def lines_of(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def start(*arguments: str | Path, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
    command: list[str | Path] = [EDGEWHISPER, "listen", *arguments]
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def listen_to(
    samples: Floats, artifact: Path, stdout: int = subprocess.PIPE
) -> "subprocess.CompletedProcess[bytes]":
    """Listen to samples on standard input."""
    return subprocess.run(
        [EDGEWHISPER, "listen", "-a", artifact, "--raw", "s16le:16000"],
        input=(samples * 32767).astype("<i2").tobytes(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=60,
    )


def test_a_recording_is_played_and_written(
    command: Command, demo_artifact: Path, played: Path, said: list[BundledRecording]
) -> None:
    outcome = command("listen", "-a", demo_artifact, "--simulate", played, "-v")
    assert (outcome.code, outcome.out) == (0, f"{said[0].text}\n")
    first, described, closing = outcome.err.splitlines()
    assert first == f"listening to {played}; Ctrl-C ends"
    assert "ended by pause; text 0." in described
    assert "s after the end was noticed" in described
    assert "s after the last voice" in described
    assert closing.startswith("1 utterance, text ")
    assert closing.endswith(" MB")


def test_json_has_a_line_for_each_utterance_and_for_what_is_stable(
    command: Command, demo_artifact: Path, recordings: Sequence[BundledRecording]
) -> None:
    (longer,) = (each for each in recordings if each.path.stem == "seen-011")
    arguments = ("--simulate", longer.path, "--format", "json", "--partial", "--language", "en")
    outcome = command("listen", "-a", demo_artifact, *arguments)
    *partial, final = lines_of(outcome.out)
    assert partial, "something was stable before the end"
    assert {each["type"] for each in partial} == {"partial"}
    assert all(each["start"] == final["start"] and each["text"] for each in partial)
    assert final["type"] == "utterance"
    assert final["text"] == longer.text
    assert {"start", "end", "language", "confidence", "latency", "latency_from_voice", "ended_by"} <= set(
        final
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("heard", "written"),
    [
        (Partial(1.0, "turn on"), "\r\x1b[Kturn on ..."),
        (Partial(1.0, ""), "\r\x1b[K"),
        (Dropped(1.0, 2.0), "\r\x1b[K"),
        (Utterance(1.0, 2.0, "Turn on.", "en", 0.9, -0.1, 0.0, "pause", 0.1, 0.6), "\r\x1b[KTurn on.\n"),
    ],
)
def test_on_a_terminal_what_is_stable_stands_where_the_text_will_be(
    heard: Heard, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    write_heard([heard], "txt", False)
    assert terminal.getvalue() == written


def test_elsewhere_what_is_stable_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    write_heard([Partial(1.0, "turn on"), Partial(1.0, "")], "txt", False)
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[:2]) == ("", ["... turn on", "... (nothing was said)"])


@pytest.mark.parametrize("rate", ["999", "2000000"])
def test_a_rate_that_no_recording_has_is_one_line(rate: str, command: Command, demo_artifact: Path) -> None:
    outcome = command("listen", "-a", demo_artifact, "--raw", f"s16le:{rate}")
    outcome.assert_refused(1, f"standard input: a sample rate of {rate} Hz", "give 1000 to 1000000 Hz")


def test_samples_come_from_standard_input(demo_artifact: Path, said: list[BundledRecording]) -> None:
    outcome = listen_to(joined(said), demo_artifact)
    assert (outcome.returncode, outcome.stdout.decode()) == (0, "".join(f"{each.text}\n" for each in said))
    assert outcome.stderr.startswith(b"listening to standard input;")


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_ends_it_after_what_is_being_said(
    number: signal.Signals, demo_artifact: Path, said: list[BundledRecording], arecord: FakeArecord
) -> None:
    arecord.run(joined(said)[: -round(1.2 * RATE)], stays=True)  # the second sentence is not over
    process = start("-a", demo_artifact)
    assert process.stdout is not None
    assert process.stdout.readline() == f"{said[0].text}\n"
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, f"{said[1].text}\n")
    assert err.splitlines()[0] == "listening to microphone default; Ctrl-C ends"
    assert err.splitlines()[1].startswith("2 utterances, text ")
    assert arecord.count == 1


def test_push_to_talk_takes_what_is_said_between_two_lines(
    demo_artifact: Path, said: list[BundledRecording], arecord: FakeArecord
) -> None:
    arecord.run(joined(said), stays=True)
    arecord.devices(DEVICES)
    process = start("-a", demo_artifact, "--push-to-talk", "--device", "usb", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    assert process.stderr.readline().startswith("listening to microphone usb;")
    process.stdin.write("\n")  # before the microphone's first sample, as starting the program takes longer
    process.stdin.flush()
    time.sleep(1)
    out, err = process.communicate("\n", timeout=60)
    assert (process.returncode, out) == (0, f"{said[0].text} {said[1].text}\n")
    assert "press Enter to speak" in err
    assert arecord.arguments().endswith("-D plughw:CARD=Device,DEV=0")


@pytest.mark.slow
def test_a_microphone_that_is_pulled_out_is_two_lines(
    demo_artifact: Path, said: list[BundledRecording], arecord: FakeArecord
) -> None:
    arecord.run(joined(said[:1]), says="arecord: pcm_read:2221: read error: No such device\n")
    arecord.run(joined(said[1:]), stays=True)
    process = start("-a", demo_artifact)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in said] == [f"{each.text}\n" for each in said]
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    _, gone, back, _ = err.splitlines()
    assert gone == "microphone default: is not there; waiting until it comes back"
    assert back.startswith("microphone default: is back after ")


def test_a_microphone_that_is_busy_is_one_line(
    command: Command, demo_artifact: Path, arecord: FakeArecord
) -> None:
    arecord.run(says="arecord: main:852: audio open error: Device or resource busy\n")
    outcome = command("listen", "-a", demo_artifact)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines()[1:] == [
        "edgewhisper: error: microphone default: is busy; end the program that records from it"
    ]


def test_microphones_are_listed(command: Command, arecord: FakeArecord) -> None:
    arecord.devices(DEVICES)
    outcome = command("listen", "--list-devices")
    assert outcome.out == "plughw:CARD=Device,DEV=0  USB PnP Sound Device, USB Audio\n"
    arecord.devices("")
    command("listen", "--list-devices").assert_refused(1, "there is no microphone; plug one in")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--raw", "s16le:16000", "--simulate", "a.wav"], ["--raw and --simulate", "one"]),
        (["--device", "usb", "--simulate", "a.wav"], ["--device or --recorder and --simulate"]),
        (["--raw", "s16le:16000", "--push-to-talk"], ["--push-to-talk", "--raw"]),
        (["--end-delay", "0"], ["end_delay 0.0", "0.1 to 10 seconds"]),
        (["--max-length", "nan"], ["max_length nan"]),
        (["--vad", "magic"], ["--vad", "'silero'"]),
        (["--recorder", "tape"], ["--recorder", "'arecord'"]),
        (["--raw", "mp3"], ["mp3"]),
    ],
)
def test_a_wrong_usage_is_one_line_and_exits_2(
    arguments: list[str], words: list[str], command: Command
) -> None:
    command("listen", "-a", "nowhere", *arguments).assert_refused(2, *words)


def test_without_an_artifact_it_is_bad_usage(command: Command) -> None:
    command("listen").assert_refused(2, "--artifact")


def test_a_recording_that_is_not_there_is_one_line(command: Command, demo_artifact: Path) -> None:
    outcome = command("listen", "-a", demo_artifact, "--simulate", "none.wav")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == "edgewhisper: error: none.wav: no such file"


def test_closed_standard_input_is_one_line(demo_artifact: Path) -> None:
    script = '"$@" <&-'
    command: list[str | Path] = [EDGEWHISPER, "listen", "-a", demo_artifact, "--raw", "s16le:16000"]
    outcome = subprocess.run(["sh", "-c", script, "sh", *command], text=True, capture_output=True)
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert outcome.stderr.startswith("edgewhisper: error: standard input is closed;")


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it_without_a_word(
    demo_artifact: Path, said: list[BundledRecording]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    outcome = listen_to(joined(said), demo_artifact, stdout=writer)
    os.close(writer)
    assert outcome.returncode == 1
    assert outcome.stderr.count(b"\n") == 1, "that it listens"
