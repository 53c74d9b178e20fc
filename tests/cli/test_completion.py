import shutil
import subprocess

import pytest

from edgewhisper.cli.main import main
from tests.conftest import Command


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_valid_for_its_shell(shell: str, command: Command) -> None:
    outcome = command("completion", shell)
    assert outcome.code == 0
    assert "edgewhisper" in outcome.out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=outcome.out, text=True, check=True)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (
            "edgewhisper ",
            {
                "bench",
                "build",
                "bundle",
                "completion",
                "distill",
                "doctor",
                "download",
                "eval",
                "inspect",
                "listen",
                "models",
                "quantize",
                "random",
                "report",
                "serve",
                "transcribe",
                "winograd",
            },
        ),
        ("edgewhisper transcribe --f", {"--format"}),
        ("edgewhisper transcribe --format ", {"txt", "json", "srt", "vtt", "tsv"}),
    ],
)
def test_the_command_completes_what_is_typed(
    typed: str, offered: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_EDGEWHISPER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split(" ")) - 1))
    with pytest.raises(SystemExit):
        main([])
    assert {line.partition(",")[2] for line in capsys.readouterr().out.splitlines()} == offered
