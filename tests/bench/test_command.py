"""The benchmark's command line."""

import pytest

from edgewhisper.bench.__main__ import main


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--engines", "edgewhisper,whisper", "--engines whisper: there is none of that name; known: edgewhisper,"),
        ("--measure", "taste", "--measure taste: there is none of that name; known: speed, memory"),
        ("--models", "huge", "no model 'huge'"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, value: str, reason: str
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", option, value])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
