"""How the service starts, rests, tells how it is, and ends."""

import asyncio
import contextlib
import logging
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from wyoming.audio import AudioStart
from wyoming.client import AsyncTcpClient

from edgewhisper.artifact import load_manifest
from edgewhisper.deploy.service.address import Address, bind, listen
from edgewhisper.deploy.service.limits import Limits
from edgewhisper.deploy.service.server import Service, Settings
from edgewhisper.errors import ArtifactError, ServiceError
from edgewhisper.runtime.options import DecodingOptions
from edgewhisper.runtime.transcriber import Transcriber
from tests.conftest import BundledRecording, Command
from tests.deploy.service.servers import (
    HOST,
    PATIENCE,
    Samples,
    Server,
    answers,
    read_samples,
    speech_events,
    stream_answers,
    text_of,
    wait_until,
)

MEGABYTE = 10**6
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


# Start


def test_a_port_in_use_is_one_line(command: Command, demo_artifact: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        outcome = command("serve", "-a", demo_artifact, "--wyoming", f"tcp://{HOST}:{port}")
    outcome.assert_refused(1, f"tcp://{HOST}:{port}: the port is in use", "give another with --wyoming")


def test_a_port_that_is_taken_while_the_model_loads_is_one_line() -> None:
    """Two sockets may be bound to a port as long as none listens, so the second service fails later."""

    async def take() -> None:
        first = await bind(Address(HOST, 0), nobody, 100)
        address = Address(HOST, first.sockets[0].getsockname()[1])
        second = await bind(address, nobody, 100)
        await listen(first, address)
        with pytest.raises(ServiceError, match=f"{address}: the port is in use"):
            await listen(second, address)
        for server in (first, second):
            server.close()

    async def nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    asyncio.run(take())


def test_an_address_of_another_machine_is_one_line(command: Command, demo_artifact: Path) -> None:
    outcome = command("serve", "-a", demo_artifact, "--wyoming", "tcp://192.0.2.1:10300")
    outcome.assert_refused(1, "tcp://192.0.2.1:10300: no address of this machine")


@pytest.mark.parametrize(
    "uri",
    ["10300", "localhost:10300", "tcp://:10300", "tcp://here", "tcp://here:x", "tcp://here:70000", "http://here:80", "unix:///run/x", "tcp://[::1:5"],
)  # fmt: skip
def test_an_address_that_cannot_be_meant_is_bad_usage(
    command: Command, demo_artifact: Path, uri: str
) -> None:
    command("serve", "-a", demo_artifact, "--wyoming", uri).assert_refused(2, uri, "give tcp://HOST:PORT")


@pytest.mark.parametrize("option", ["--idle-unload", "--max-audio", "--timeout"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "soon"])
def test_a_time_that_has_no_end_is_bad_usage(
    command: Command, demo_artifact: Path, option: str, value: str
) -> None:
    command("serve", "-a", demo_artifact, option, value).assert_refused(2, option)


def test_a_language_that_the_model_lacks_is_bad_usage(command: Command, demo_artifact: Path) -> None:
    command("serve", "-a", demo_artifact, "--language", "fr").assert_refused(2, "fr", "de, en")


def test_without_the_wyoming_package_one_line_says_what_to_install(
    command: Command, demo_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("wyoming", "edgewhisper.deploy.service"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "wyoming", None)
    command("serve", "-a", demo_artifact).assert_refused(1, "pip install edgewhisper[serve]")


def test_a_damaged_artifact_is_found_before_the_service_is_ready(command: Command, tmp_path: Path) -> None:
    command("serve", "-a", tmp_path, "--wyoming", f"tcp://{HOST}:0").assert_refused(1, "not an artifact")


@pytest.mark.slow
def test_an_artifact_that_is_damaged_meanwhile_fails_requests_not_the_service(
    demo_artifact: Path, speech: Path, tmp_path: Path
) -> None:
    artifact = tmp_path / "demo"
    shutil.copytree(demo_artifact, artifact)
    events = speech_events(read_samples(speech))
    with Server(artifact, "--load", "first-use") as server:
        assert server.is_well()
        (artifact / "weights.bin").rename(tmp_path / "weights.bin")
        for _ in range(2):
            (error,) = asyncio.run(answers(server, events))
            assert (error.data["code"], "weights.bin" in error.data["text"]) == ("failed", True)
        (tmp_path / "weights.bin").rename(artifact / "weights.bin")
        assert text_of(asyncio.run(answers(server, events)))
        assert "failed=2" in server.metrics()
        assert server.terminate() == 0


# Rest


@linux
def test_the_model_comes_with_the_first_audio_and_goes_when_idle(demo_artifact: Path, speech: Path) -> None:
    with Server(demo_artifact, "--load", "first-use", "--idle-unload", "0.5") as server:
        assert server.is_well()
        assert not any("model loaded" in line for line in server.log)
        events = speech_events(read_samples(speech))
        first = text_of(asyncio.run(answers(server, events)))
        loaded = server.resident_bytes()
        freed = server.wait_for_line("model freed")
        assert loaded - server.resident_bytes() > 10 * MEGABYTE, freed
        assert text_of(asyncio.run(answers(server, events))) == first
        assert sum("model loaded" in line for line in server.log) == 2
        assert server.terminate() == 0


@linux
def test_an_idle_service_takes_no_processor_time(server: Server, speech: Path) -> None:
    asyncio.run(answers(server, speech_events(read_samples(speech))))
    wait_until(lambda: "clients=0 running=0" in server.metrics())
    time.sleep(0.2)
    before = server.cpu_seconds()
    time.sleep(1)
    assert server.cpu_seconds() - before <= 0.01


# End


@dataclass(frozen=True)
class Ending:
    """A service that was told to end while it transcribed, one request waited and one client said nothing."""

    told: Sequence[str]  # datagrams to systemd
    kinds: Sequence[str]  # of the events that the running request was answered with
    refusal: str  # the code that the waiting request was answered with
    idle: bytes  # what the silent client was told
    code: int
    log: Sequence[str]
    is_gone: bool  # whether the port is free again


@pytest.fixture(scope="module")
def ending(demo_artifact: Path, long_speech: Samples, tmp_path_factory: pytest.TempPathFactory) -> Ending:
    async def ask(server: Server) -> tuple[list[str], str]:
        waiting = None
        kinds = []
        async for event in stream_answers(server, speech_events(long_speech, chunk=64_000)):
            if event.type == "transcript-start":
                waiting = asyncio.create_task(answers(server, speech_events(long_speech[:16_000])))
                while "running=1 waiting=1" not in await asyncio.to_thread(server.metrics):
                    pass
                server.process.send_signal(signal.SIGTERM)
            kinds.append(event.type)
        assert waiting is not None
        (refusal,) = await waiting
        return kinds, refusal.data["code"]

    address = tmp_path_factory.mktemp("systemd") / "notify"
    told: list[str] = []

    def listen_to_it() -> None:
        while not told or told[-1] != "":
            told.append(systemd.recv(4096).decode())

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        listening = threading.Thread(target=listen_to_it, daemon=True)
        listening.start()
        environment = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "400000"}
        with Server(demo_artifact, "--threads", "1", environment=environment) as server:
            with server.connect() as idle:
                idle.sendall(b'{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1}}\n')
                kinds, refusal = asyncio.run(ask(server))
                code = server.wait()
                silence = idle.recv(1)
            try:
                server.connect().close()
                is_gone = False
            except ConnectionRefusedError:
                is_gone = True
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as closing:
            closing.sendto(b"", str(address))
        listening.join()
    return Ending(told, kinds, refusal, silence, code, server.log, is_gone)


def test_sigterm_lets_the_running_request_finish_and_refuses_others(ending: Ending) -> None:
    assert ending.kinds[-2:] == ["transcript", "transcript-stop"]
    assert (ending.refusal, ending.idle, ending.code, ending.is_gone) == ("ending", b"", 0, True)
    assert any("ending: up=" in line for line in ending.log)


# What it tells systemd


def test_systemd_hears_that_it_is_ready_alive_and_ending(ending: Ending) -> None:
    assert re.fullmatch(r"READY=1\nSTATUS=up=\d+s model=loaded memory=\d+MB clients=0 .*", ending.told[0])
    assert ending.told.count("WATCHDOG=1") >= 3
    at_end = ending.told.index("STOPPING=1")
    statuses = [message for message in ending.told[at_end:] if message.startswith("STATUS=")]
    assert " transcribed=1 refused=1 failed=0 audio=40.0s " in statuses[-1]


def test_a_service_that_is_stuck_leaves_the_watchdog_alone(
    demo_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that does not come to an end of loading stands for one that hangs."""
    goes_on = threading.Event()

    def load() -> Transcriber:
        goes_on.wait(PATIENCE)
        raise ArtifactError("gone")

    def logged(words: str) -> str:
        return next((text for text in caplog.messages if words in text), "")

    async def use(systemd: socket.socket) -> tuple[int, int, int]:
        async def wait_for(condition: Callable[[], object]) -> None:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    await asyncio.sleep(0.01)

        settings = Settings(Address(HOST, 0), load_first=False)
        service = Service(load_manifest(demo_artifact), load, DecodingOptions(), settings, Limits())
        running = asyncio.create_task(service.run())
        await wait_for(lambda: logged("serving demo"))
        await asyncio.sleep(0.1)
        alive = told(systemd).count("WATCHDOG=1")
        port = int(logged("serving demo").rpartition(":")[2])
        async with AsyncTcpClient(HOST, port) as client:
            await client.write_event(AudioStart(16_000, 2, 1).event())
            await wait_for(lambda: logged("systemd's watchdog is left alone"))
            told(systemd)
            await asyncio.sleep(0.1)
            stuck = told(systemd).count("WATCHDOG=1")
            goes_on.set()
            await asyncio.sleep(0.1)
            again = told(systemd).count("WATCHDOG=1")
        os.kill(os.getpid(), signal.SIGTERM)
        await running
        return alive, stuck, again

    def told(systemd: socket.socket) -> list[str]:
        messages = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(systemd.recv(4096).decode())
        return messages

    monkeypatch.setattr(sys.modules[Service.__module__], "_STUCK_SECONDS", 0.2)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, caplog.at_level(logging.INFO):
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        alive, stuck, again = asyncio.run(use(systemd))
    assert alive > 0
    assert stuck == 0
    assert again > 0


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdogs_time_is_what_systemd_says(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], seconds: float | None
) -> None:
    from edgewhisper.deploy.service.notify import Notifier

    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Notifier().watchdog_seconds == seconds
    Notifier().send(READY=1)


def test_a_signal_asks_for_the_metrics(server: Server) -> None:
    server.process.send_signal(signal.SIGUSR1)
    assert re.search(
        r"metrics: up=\d+s model=loaded memory=\d+MB clients=", server.wait_for_line("metrics: ")
    )


# For long


@linux
@pytest.mark.slow
def test_two_thousand_requests_leave_the_memory_as_it_was(
    demo_artifact: Path, recordings: Sequence[BundledRecording]
) -> None:
    clips = [read_samples(each.path) for each in recordings if each.group in ("seen", "unseen", "german")]
    requests = [speech_events(clip, None) for clip in clips]

    async def ask(server: Server, first: int, end: int) -> None:
        for number in range(first, end):
            events = await answers(server, requests[number % len(requests)])
            assert events[-1].type == "transcript-stop"

    with Server(demo_artifact, "--threads", "1") as server:
        asyncio.run(ask(server, 0, 100))
        before = server.resident_bytes()
        asyncio.run(ask(server, 100, 2_000))
        assert abs(server.resident_bytes() - before) < 5 * MEGABYTE
        assert server.terminate() == 0
