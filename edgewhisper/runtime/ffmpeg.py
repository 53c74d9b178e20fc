"""Recordings that need the program ffmpeg: M4A, AAC, WebM, AMR, and the sound of videos.

ffmpeg decodes to WAV on its standard output, so that rate and channels are the recording's own; nothing is resampled there.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO

import numpy as np
from numpy.typing import NDArray

from edgewhisper.errors import AudioError

from .pcm import open_pcm
from .recording import Recording
from .wav import read_wav_header


def open_with_ffmpeg(path: str, name: str, reason: str, resources: ExitStack) -> Recording:
    """Decode the first audio track of `path`; `reason` says why the built-in reader could not.

    Raises:
        AudioError: ffmpeg is not installed or cannot decode the file.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        remedy = "install ffmpeg, or convert the file to WAV or FLAC"
        raise AudioError(f"{name}: cannot be read without ffmpeg ({reason}); {remedy}")
    # Messages go to a file: nobody reads them while the samples flow, and a pipe would fill up.
    messages: IO[bytes] = resources.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    # Only local files: a playlist must not make a transcription fetch something from the network.
    command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-i", f"file:{path}"]
    command += ["-map", "0:a:0?", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages)
    resources.enter_context(process)  # closes its pipe, then waits
    resources.callback(process.kill)
    assert process.stdout is not None
    try:
        header, _ = read_wav_header(process.stdout, name)
    except AudioError:
        header = None
    if header is None:
        process.wait()
        cause = _last_line(messages, path)
        raise AudioError(f"{name}: cannot be decoded (ffmpeg: {cause}); is it a recording?")
    samples = open_pcm(process.stdout, header.format, header.data_bytes)
    return Recording(samples.sample_rate, None, _until_success(samples.blocks, process, messages, path, name))


def _until_success(
    blocks: Iterator[NDArray[np.float32]],
    process: subprocess.Popen[bytes],
    messages: IO[bytes],
    path: str,
    name: str,
) -> Iterator[NDArray[np.float32]]:
    yield from blocks
    if process.wait() != 0:
        cause = _last_line(messages, path)
        raise AudioError(f"{name}: damaged or cut off (ffmpeg: {cause}); copy or record it again")


def _last_line(messages: IO[bytes], path: str) -> str:
    messages.seek(0)
    lines = messages.read().decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix(f"file:{path}: ") if lines else "no message"
