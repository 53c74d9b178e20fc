"""Messages to systemd where it does not take them."""

import socket
import time
from pathlib import Path

import pytest

from edgewhisper.deploy.service import notify
from edgewhisper.deploy.service.notify import Notifier


def test_systemd_that_does_not_read_is_waited_for_without_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setattr(notify, "_PATIENCE", 0.3)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        taken = 0
        while True:
            started, worked = time.monotonic(), time.process_time()
            Notifier().send(WATCHDOG=1)
            if time.monotonic() - started >= 0.3:
                break
            taken += 1
        assert time.process_time() - worked < 0.1
        systemd.setblocking(False)
        assert [systemd.recv(100) for _ in range(taken)] == [b"WATCHDOG=1"] * taken
        Notifier().send(WATCHDOG=1)
        assert systemd.recv(100) == b"WATCHDOG=1"
