import io
from contextlib import redirect_stderr

import pytest

from edgewhisper.cli.progress import LONG_RECORDING, Progress
from edgewhisper.runtime.options import Segment

SEGMENT = Segment(0.0, 1.0, " text", (), 0.0, 0.0, 1.0, 0.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def visible(self) -> str:
        """What stands on the terminal's last line."""
        shown = ""
        for part in self.getvalue().rpartition("\n")[2].split("\r"):
            shown = part + shown[len(part) :]
        return shown.rstrip()


def test_a_bar_shows_how_much_is_done_and_goes_away() -> None:
    with redirect_stderr(Terminal()) as terminal, Progress("talk.wav", 200.0) as progress:
        assert terminal.visible().startswith("talk.wav:   0%|")
        progress._bar.mininterval = 0.0  # type: ignore[union-attr]
        progress.update(50.0)
        assert terminal.visible().startswith("talk.wav:  25%|")
        assert "50/200 s" in terminal.visible()
    assert terminal.visible() == ""


def test_the_bar_makes_room_for_text_and_comes_back() -> None:
    with redirect_stderr(Terminal()) as terminal, Progress("talk.wav", 200.0) as progress:
        segments = progress.make_room(iter([SEGMENT, SEGMENT]))
        for _ in range(2):
            next(segments)
            assert terminal.visible() == ""
        assert next(segments, None) is None
        assert terminal.visible().startswith("talk.wav:")


def test_without_a_known_length_seconds_are_counted() -> None:
    with redirect_stderr(Terminal()) as terminal, Progress("<stdin>", None):
        assert terminal.visible().startswith("<stdin>: 0 s [")


def test_a_short_recording_has_no_bar() -> None:
    with redirect_stderr(Terminal()) as terminal, Progress("command.wav", LONG_RECORDING / 2) as progress:
        progress.update(LONG_RECORDING / 2)
        assert list(progress.make_room(iter([SEGMENT]))) == [SEGMENT]
    assert terminal.getvalue() == ""


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    log = io.StringIO()
    monkeypatch.setattr("edgewhisper.cli.progress.time.monotonic", lambda: now)
    with redirect_stderr(log), Progress("talk.wav", 200.0) as progress:
        for second in range(31):
            now = 100.0 + second
            progress.update(4.0 * second)
    assert log.getvalue() == "talk.wav: 40 of 200 s\ntalk.wav: 80 of 200 s\ntalk.wav: 120 of 200 s\n"
