"""What is said of a device: findings, and what to do about those that are problems.

Every problem has a name, which scripts and docs/doctor.md go by.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        about: what was looked at: processor, memory, ..
        status: ok; a warning, with which it works; failed, with which it does not.
        found: one line.
        problem: a key of `PROBLEMS`; "" where there is none.
        advice: what to do; "" where there is nothing to do.
    """

    about: str
    status: Status
    found: str
    problem: str = ""
    advice: str = ""


# Problem -> whether it still works, and what to do.
PROBLEMS: Mapping[str, tuple[Status, str]] = {
    "32-bit-userland": ("failed", "the kernel is 64-bit and the system is not: write the 64-bit Raspberry Pi OS to the card"),
    "32-bit-system": ("failed", "ONNX Runtime needs a 64-bit system; a Raspberry Pi 3, 4, 5 or Zero 2 W runs the 64-bit Raspberry Pi OS"),
    "unknown-architecture": ("warning", "made and tested for 64-bit ARM and x86-64 only; where ONNX Runtime loads, it may work"),
    "emulated": ("warning", "this processor is emulated; times say nothing about a board"),
    "no-avx2": ("warning", "without AVX2 transcribing takes several times as long; take the smallest model"),
    "powersave": ("warning", "the clock is held low; set the governor to ondemand or performance"),
    "hot": ("warning", "near 80 °C a board slows itself down; give it a heat sink, a fan or air"),
    "throttled": ("warning", "the board runs slower than it could; cool it, and use the power supply made for it"),
    "was-throttled": ("warning", "it happened since the board was switched on; cool it, and use the power supply made for it"),
    "too-little-memory": ("failed", "close other programs, or take a smaller model"),
    "low-memory": ("warning", "add --low-memory, close other programs, or take a smaller model"),
    "would-swap": ("warning", "add --low-memory, and close other programs or take a smaller model: swapping is slow"),
    "full-disk": ("warning", "free some space: nothing can be remembered or installed"),
    "little-disk": ("warning", "free some space: an upgrade puts the new version beside the old one"),
    "state-not-kept": ("warning", "every start checks and measures again; make the folder writable, or name another in EDGEWHISPER_STATE"),
    "no-microphone": ("warning", "needed for listening only: plug one in; a USB microphone needs no driver"),
    "microphone-busy": ("warning", "end the program that records, or take another microphone"),
    "microphone-denied": ("warning", "add the user to the group audio (sudo usermod -aG audio USER) and log in again"),
    "no-arecord": ("warning", "needed for listening only: sudo apt install alsa-utils"),
    "package-missing": ("failed", "install edgewhisper again, with all that it needs"),
    "package-broken": ("failed", "install it again, for this processor and this Python"),
    "optional-package": ("warning", "install it again, for this processor and this Python; transcribing does without it"),
    "illegal-instruction": ("failed", "this build was made for another processor: install the version that the bundle has, or another one"),
    "crash": ("failed", "install ONNX Runtime again, in the version that the bundle has"),
    "hang": ("failed", "the machine may be overloaded or its card failing; try again, then install again"),
    "onnxruntime-broken": ("failed", "install another version of ONNX Runtime; the bundle has one that was tested"),
    "onnxruntime-flawed": ("warning", "install another version of ONNX Runtime; the bundle has one that was tested"),
    "onnxruntime-untested": ("warning", "install ONNX Runtime 1.24.4 or newer; older ones were not tested"),
    "onnxruntime-too-old": ("failed", "install a newer ONNX Runtime, or build the artifact without what needs it"),
    "artifact-unusable": ("failed", "copy or build the artifact again"),
    "artifact-damaged": ("failed", "copy or build the artifact again; if it comes back, the card may be failing"),
    "draft-unusable": ("warning", "text comes without the draft too, more slowly; copy or build the artifact again"),
    "artifact-target": ("warning", "build the artifact for this processor"),
    "random-weights": ("warning", "an artifact to measure with: its text means nothing"),
    "artifact-fails": ("failed", "build the artifact again, and look at the other lines"),
    "disturbed": ("warning", "other programs took processor time while it was measured; end them and measure again"),
    "slower-than-speech": ("warning", "take a smaller model, or an artifact with a smaller precision"),
    "no-model-fits": ("failed", "no model fits this device: it needs more memory"),
}  # fmt: skip


def fine(about: str, found: str) -> Check:
    """Nothing to say against it."""
    return Check(about, "ok", found)


def problem(name: str, about: str, found: str, advice: str | None = None) -> Check:
    """A problem of `PROBLEMS`, with its own advice where `advice` is given."""
    status, usual = PROBLEMS[name]
    return Check(about, status, found, name, usual if advice is None else advice)
