"""Which microphones ALSA has, by the program arecord of the package alsa-utils."""

import os
import shutil
import subprocess

from edgewhisper.errors import AudioError, MissingDependencyError

SHOW = "'edgewhisper listen --list-devices' shows those that are there"
_LIST_SECONDS = 10.0


def list_devices() -> list[tuple[str, str]]:
    """Name and description of each microphone that arecord can convert from.

    Raises:
        MissingDependencyError: arecord is not installed.
        AudioError: it cannot be run, or does not answer.
    """
    try:
        done = subprocess.run(
            [program(), "-L"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIST_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise AudioError("arecord -L does not answer; the sound system hangs, restart it") from None
    except OSError as error:
        raise AudioError(f"arecord cannot be run ({error.strerror or error})") from None
    name = ""
    devices: dict[str, list[str]] = {name: []}
    for line in done.stdout.splitlines():
        if line[:1].isspace():
            devices[name].append(line.strip())
        elif line:
            name = line.strip()
            devices[name] = []
    return [
        (name, ", ".join(lines[:1]) or name) for name, lines in devices.items() if name.startswith("plughw:")
    ]


def program() -> str:
    """Where arecord is.

    Raises:
        MissingDependencyError: it is not installed.
    """
    found = shutil.which("arecord")
    if found is None:
        raise MissingDependencyError(
            "arecord is not installed, which records; run 'apt install alsa-utils', or 'pip install edgewhisper[mic]' "
            "for the recorder sounddevice"
        )
    return found


def find_device(device: str) -> str:
    """The ALSA name of what may be a part of a description.

    Raises:
        MissingDependencyError: arecord is not installed.
        AudioError: several microphones are described so, or the name is empty.
    """
    if not device.strip():
        raise AudioError(f"microphone {device!r}: the name is empty; {SHOW}")
    if ":" in device:
        return device
    there = list_devices()
    found = [name for name, described in there if device.lower() in f"{name} {described}".lower()]
    if len(found) > 1:
        raise AudioError(f"microphone {device}: may be {' or '.join(found)}; give one of these names")
    # ALSA has names that are not devices: default, pulse, pipewire, and what the user has defined.
    return found[0] if found else device
