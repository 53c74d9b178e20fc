"""The service under the limits of its unit: what systemd denies, it does not need."""

import asyncio
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import edgewhisper
from tests.deploy.service.servers import (
    Server,
    answers,
    read_samples,
    speech_events,
    text_of,
    wait_until,
)
from tests.deploy.unit_limits import is_possible, limited, settings_of

UNITS = Path(edgewhisper.__file__).parent / "deploy" / "systemd"
SERVICE, ZEROCONF = UNITS / "edgewhisper.service", UNITS / "zeroconf.conf"
HARMLESS = {"mbind"}
"""Calls that are made and denied: memory allocators ask for memory that is near, and do without."""

pytestmark = pytest.mark.skipif(not is_possible(), reason="needs systemd-analyze and libseccomp")


class Systemd:
    """The socket where a service says how it is, and somebody who reads it."""

    def __init__(self, folder: Path) -> None:
        self.address, self.messages = folder / "notify", list[str]()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.address))
        self._reading = threading.Thread(target=self._read)

    def __enter__(self) -> "Systemd":
        self._reading.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.address))
        self._reading.join()
        self._socket.close()

    def _read(self) -> None:
        while message := self._socket.recv(4096):
            self.messages.append(message.decode())


def live(server: Server, speech: Path, zeroconf: bool) -> None:
    """What a service does in its life."""
    events = speech_events(read_samples(speech), None)
    expected = text_of(asyncio.run(answers(server, events)))
    assert expected
    server.wait_for_line("model freed")
    assert text_of(asyncio.run(answers(server, events))) == expected
    if zeroconf:
        server.wait_for_line("announced as .*_wyoming")


@pytest.mark.slow
@pytest.mark.parametrize("zeroconf", [False, True])
@pytest.mark.parametrize("threads", [["--threads", "2"], []], ids=["two threads", "threads bound to cores"])
def test_the_service_lives_under_the_limits_of_its_unit(
    zeroconf: bool, threads: list[str], demo_artifact: Path, speech: Path, tmp_path: Path
) -> None:
    if zeroconf:
        pytest.importorskip("zeroconf")
    options = ["--idle-unload", "0.5", "-v", *threads, *(["--zeroconf"] if zeroconf else [])]
    before, environment = limited(settings_of(SERVICE, *([ZEROCONF] if zeroconf else [])))
    with Systemd(tmp_path) as systemd:
        environment |= {"NOTIFY_SOCKET": str(systemd.address), "WATCHDOG_USEC": "1000000"}
        environment |= {"EDGEWHISPER_STATE": str(tmp_path / "state")}
        with Server(demo_artifact, *options, before=before, environment=environment) as server:
            live(server, speech, zeroconf)
            wait_until(lambda: "WATCHDOG=1" in systemd.messages)
            assert "transcribed=2" in server.metrics()
            assert server.terminate() == 0
    assert not [
        line for line in server.log if re.search(r"warning|cannot|Traceback|denied", line, re.IGNORECASE)
    ]
    assert systemd.messages[0].startswith("READY=1")
    assert any(message.startswith("STOPPING=1") for message in systemd.messages)
    assert list((tmp_path / "state").iterdir()), "what it learns of this machine"


@pytest.mark.slow
def test_what_is_denied_to_the_service_is_known_to_be_harmless(
    demo_artifact: Path, speech: Path, tmp_path: Path
) -> None:
    """With everything on, its ports and all system calls."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    pytest.importorskip("zeroconf")
    trace = tmp_path / "trace"
    before, environment = limited(settings_of(SERVICE, ZEROCONF))
    before = [strace, "-f", "-qq", "-D", "-o", str(trace), *before]
    environment["EDGEWHISPER_STATE"] = str(tmp_path / "state")
    options = ("--idle-unload", "0.5", "-v", "--zeroconf")
    with Server(demo_artifact, *options, before=before, environment=environment) as server:
        live(server, speech, zeroconf=True)
        assert server.terminate() == 0
    lines = trace.read_text().splitlines()
    begin = next(
        number
        for number, line in enumerate(lines)
        if "execve(" in line and '"edgewhisper"' in line and "unit_limits" not in line
    )
    failed = (
        re.search(r"(\w+)(?:\(| resumed>).* = -1 (EPERM|EACCES|EAFNOSUPPORT)", line) for line in lines[begin:]
    )
    assert {match[1] for match in failed if match} <= HARMLESS
    bound = (re.search(r"bind\(.*sin6?_port=htons\((\d+)\)", line) for line in lines[begin:])
    assert {match[1] for match in bound if match} <= {"0", "5353"}, (
        "its own port, which is any here, and mDNS'"
    )


def test_what_the_limits_deny_is_denied(tmp_path: Path) -> None:
    """So that the tests above say something."""
    script = """
import ctypes, mmap, os, socket, threading

def said(call):
    try:
        return call() and "done"
    except OSError as error:
        return type(error).__name__

print(
    said(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)),
    said(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)),
    said(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))),
    said(lambda: os.setpriority(os.PRIO_PROCESS, 0, 10)),
    said(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    said(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)),
    said(lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)) or True),
    ctypes.CDLL(None).unshare(0x20000000),
)
"""
    before, environment = limited(settings_of(SERVICE))
    done = subprocess.run(
        [*before, sys.executable, "-I", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == [
        "PermissionError", "done", "PermissionError", "PermissionError", "OSError", "done", "done", "-1",
    ], done  # fmt: skip
