import re
import shlex
from pathlib import Path

import click
import pytest

import edgewhisper as package
from edgewhisper.cli import main as cli
from edgewhisper.cli.main import edgewhisper, main
from edgewhisper.errors import AudioError, UsageError
from tests.conftest import Command

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(edgewhisper.commands)


def examples() -> list[str]:
    """Every line that begins with `edgewhisper`, or pipes into it, in the help texts, the README and the docs."""
    texts = [edgewhisper.help or "", *(command.help or "" for command in edgewhisper.commands.values())]
    texts += [path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
    found = (
        re.search(r"^\s*(?:\w[^|]*\| )?(edgewhisper .*)", line)
        for text in texts
        for line in text.splitlines()
    )
    return [match[1] for match in found if match]


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setitem(edgewhisper.commands, "failing", failing)


def test_version(command: Command) -> None:
    assert command("--version").out == f"edgewhisper, version {package.__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (AudioError("a.wav: not audio"), 1, "a.wav: not audio"),
        (UsageError("no such language"), 2, "no such language"),
        (OSError(28, "No space left on device", "out.txt"), 1, "out.txt: No space left on device"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (MemoryError(), 1, "not enough memory; close other programs or take a smaller model"),
        (AudioError("two\nlines"), 1, "two lines"),
        (
            ZeroDivisionError("division by zero"),
            1,
            "unexpected ZeroDivisionError: division by zero; 'edgewhisper --debug ...' shows where, please report it",
        ),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: Exception, code: int, message: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(error, monkeypatch)
    outcome = command("failing")
    outcome.assert_refused(code)
    assert outcome.err == f"edgewhisper: error: {message}\n"


def test_debug_shows_where_an_error_was_raised(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(AudioError("a.wav: not audio"), monkeypatch)
    outcome = command("--debug", "failing")
    assert outcome.code == 1
    assert "Traceback" in outcome.err
    assert outcome.err.endswith("edgewhisper: error: a.wav: not audio\n")


def test_an_interrupt_says_nothing_and_exits_130(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(KeyboardInterrupt(), monkeypatch)
    outcome = command("failing")
    assert (outcome.code, outcome.out, outcome.err.strip()) == (130, "", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--colour"], ["--colour", "'edgewhisper --help'"]),
        (["transcrib"], ["transcrib"]),
        (["transcribe"], ["AUDIO", "'edgewhisper transcribe --help'"]),
        (["transcribe", "a.wav"], ["--artifact"]),
        (["transcribe", "a.wav", "-a", "x", "--format", "docx"], ["docx", "'txt'", "'srt'"]),
        (["transcribe", "a.wav", "-a", "x", "--task", "sing"], ["sing", "'translate'"]),
        (["transcribe", "a.wav", "-a", "x", "--provider", "abacus"], ["abacus", "'cpu'"]),
        (["transcribe", "a.wav", "-a", "x", "--provider-option", "fast"], ["'fast' is not KEY=VALUE"]),
        (["transcribe", "a.wav", "-a", "x", "--raw", "mp3:16000"], ["mp3:16000", "s16le"]),
        (["transcribe", "a.wav", "-a", "x", "--raw", "s16le"], ["ENCODING:RATE"]),
        (["transcribe", "a.wav", "-a", "x", "--raw", "s16le:0"], ["sample rate 0"]),
        (["transcribe", "a.wav", "-a", "x", "--threads", "0"], ["--threads", "0"]),
        (["transcribe", "a.wav", "-a", "x", "--temperature", "-1"], ["--temperature"]),
        (["transcribe", "a.wav", "-a", "x", "--temperature", "nan"], ["temperature"]),
        (["transcribe", "a.wav", "-a", ""], ["--artifact", "the name is empty"]),
        (["transcribe", "a.wav", "-a", "x", "-o", ""], ["--output", "the name is empty"]),
        (["transcribe", "a.wav", "-a", "x", "--provider-option", "a=b"], ["(a)", "'cpu' has none"]),
        (["build", "demo"], ["--output"]),
        (["build", "demo", "-o", ""], ["--output", "the name is empty; give a folder"]),
        (["build", "demo", "-o", "x", "--precision", "int1"], ["int1", "fp32"]),
        (["random", "base.en", "-o", "x", "--tokens", "0"], ["--tokens"]),
        (["inspect", "x", "--provider", "abacus"], ["abacus"]),
        (["download", "demo"], ["bundled"]),
        (["completion", "tcsh"], ["tcsh", "'bash'"]),
    ],
)
def test_a_wrong_usage_is_one_line_and_exits_2(
    arguments: list[str], words: list[str], command: Command
) -> None:
    command(*arguments).assert_refused(2, *words)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_sub_command_helps_with_examples(name: str, command: Command) -> None:
    outcome = command(name, "--help")
    assert outcome.code == 0
    assert f"Examples:\n    edgewhisper {name}" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 130


@pytest.mark.parametrize("line", examples())
def test_every_printed_command_parses(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWHISPER_ARTIFACT", "artifacts/demo")  # as the docs say before they leave out -a
    arguments = shlex.split(line.partition(" > ")[0], comments=True)[1:]
    context = edgewhisper.make_context("edgewhisper", arguments, obj=cli.Settings())
    name, sub_command, rest = edgewhisper.resolve_command(context, [*context._protected_args, *context.args])
    assert name is not None
    assert sub_command is not None
    sub_command.make_context(name, rest, parent=context)


def test_a_command_line_without_anything_shows_the_help(command: Command) -> None:
    outcome = command()
    assert "transcribe" in outcome.out + outcome.err
    assert "Traceback" not in outcome.err


def test_main_takes_its_arguments_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["edgewhisper", "--version"])
    assert main() == 0
    assert package.__version__ in capsys.readouterr().out


def test_the_command_alone_prints_its_help_and_exits_as_bad_usage(command: Command) -> None:
    outcome = command()
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("Usage: edgewhisper ")
    assert "\n  transcribe " in outcome.err
