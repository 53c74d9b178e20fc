"""Microphones: what ALSA has, and who is recording already."""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from edgewhisper.errors import EdgeWhisperError
from edgewhisper.runtime.listening.alsa import list_devices

from .checks import Check, fine, problem
from .host import Host
from .trial import Reporter, run_forked

_TIMEOUT = 10.0  # seconds
# "01-00: USB Audio : USB Audio : capture 1"
_IN_KERNEL = re.compile(r"(\d+)-(\d+): (.*)")


@dataclass(frozen=True)
class Microphone:
    """A device that records.

    Attributes:
        name: as people know it.
        address: what `arecord -D` takes.
        busy: the program that records from it now; "" where none does.
        denied: whether this user may not open it.
    """

    name: str
    address: str
    busy: str = ""
    denied: bool = False


def find_microphones(host: Host) -> list[Microphone]:
    """What the kernel lists, also where this user may not use it; where it tells nothing, what `edgewhisper listen` would list."""
    return [_described(host, *found) for found in _from_kernel(host)] or _from_arecord()


def _from_arecord() -> list[Microphone]:
    try:
        return [Microphone(name, address) for address, name in list_devices()]
    except EdgeWhisperError:
        return []


def _from_kernel(host: Host) -> list[tuple[int, int, str, str]]:
    """Card, device, the card's short name, its name."""
    names = _card_names(host.text("proc/asound/cards") or "")
    found = []
    for line in (host.text("proc/asound/pcm") or "").splitlines():
        match = _IN_KERNEL.match(line)
        if match and re.search(r": capture \d", line):
            card, device = int(match[1]), int(match[2])
            short, name = names.get(card, (str(card), match[3].split(":")[0].strip()))
            found.append((card, device, short, name))
    return found


def _card_names(text: str) -> Mapping[int, tuple[str, str]]:
    """ " 1 [Device         ]: USB-Audio - USB PnP Sound Device" -> {1: ("Device", "USB PnP Sound Device")}"""
    lines = re.findall(r"^\s*(\d+) \[(\S+)\s*\]: .*? - (.*)$", text, re.MULTILINE)
    return {int(number): (short, name) for number, short, name in lines}


def _described(host: Host, card: int, device: int, short: str, name: str) -> Microphone:
    node = host.root / "dev" / "snd" / f"pcmC{card}D{device}c"
    return Microphone(
        name=name,
        address=f"plughw:CARD={short},DEV={device}",
        busy=_recorder(host, f"proc/asound/card{card}/pcm{device}c"),
        denied=node.exists() and not os.access(node, os.R_OK | os.W_OK),
    )


def _recorder(host: Host, folder: str) -> str:
    """The program that has every one of a device's inputs open; "" while one is free."""
    places = sorted((host.root / folder).glob("sub*/status"))
    owner = ""
    for place in places:
        text = host.text(str(place.relative_to(host.root))) or "closed"
        if text == "closed":
            return ""
        process = re.search(r"^owner_pid\s*:\s*(\d+)", text, re.MULTILINE)
        name = host.text(f"proc/{process[1]}/comm") if process else None
        owner = f"{name or 'another program'}{f' (process {process[1]})' if process else ''}"
    return owner


def check_microphones(host: Host) -> list[Check]:
    """What could be listened to. A device without a microphone transcribes files and serves others."""
    found = find_microphones(host)
    checks = [_check(each) for each in found]
    library = _portaudio()
    if library is not None:
        return [*checks, library]
    if not found:
        return [problem("no-microphone", "microphone", "none")]
    if shutil.which("arecord") is None:
        checks.append(problem("no-arecord", "microphone", "arecord is not installed"))
    return checks


def _check(microphone: Microphone) -> Check:
    text = f"{microphone.name} ({microphone.address})"
    if microphone.denied:
        return problem("microphone-denied", "microphone", f"{text}: this user may not open it")
    if microphone.busy:
        return problem("microphone-busy", "microphone", f"{text}: {microphone.busy} is recording from it")
    return fine("microphone", text)


def _portaudio() -> Check | None:
    """What the optional package sounddevice finds; None where it is not installed or finds nothing."""
    outcome = run_forked(_ask_sounddevice, _TIMEOUT)
    names = outcome.values.get("input", [])
    return fine("microphone", f"sounddevice has {', '.join(names)}") if names else None


def _ask_sounddevice(reporter: Reporter) -> None:
    """In a child: PortAudio may hang on a broken sound server, or end the process."""
    import sounddevice

    for device in sounddevice.query_devices():
        if device["max_input_channels"] > 0:
            reporter.found("input", device["name"])
