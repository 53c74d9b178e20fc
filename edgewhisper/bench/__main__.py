"""Speed and memory on this machine, against other engines on the same random weights: `make bench`."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from edgewhisper.errors import EdgeWhisperError

from .contention import TOLERATED
from .engines import ENGINES
from .speed import FIRST, LAST, Figures, compare, start_workers

OURS = "edgewhisper"
WINDOW_SECONDS, MEL_BINS, FRAMES = 30, 80, 3000


def main() -> None:
    """Parse the command line, measure each model, print a table."""
    parser = argparse.ArgumentParser(prog="python -m edgewhisper.bench", description=__doc__)
    parser.add_argument(
        "--models", nargs="+", default=["tiny.en", "base.en"], help="names of random checkpoints"
    )
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument(
        "--peers-python", default=sys.executable, help="interpreter that has the other engines"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--work", type=Path, help="folder for checkpoints and conversions, kept; default: a temporary one"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for model in arguments.models:
            work = (arguments.work or Path(temporary)) / model
            prepare(model, work)
            python = dict.fromkeys(ENGINES, arguments.peers_python) | {OURS: sys.executable}
            workers, failed = start_workers(
                arguments.engines, python, work / "checkpoint", work, arguments.threads, MEL_BINS, FRAMES
            )
            figures = compare(workers, arguments.rounds) | failed
            for worker in workers.values():
                worker.close()
            print_table(model, arguments.threads, figures, transcription_peak(work, arguments.threads))


def prepare(model: str, work: Path) -> None:
    """Make the random checkpoint and its artifact, unless they are there."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "checkpoint").exists():
        _command("random", model, "-o", str(work / "checkpoint"), "--tokens", str(LAST))
    if not (work / "artifact").exists():
        _command("build", str(work / "checkpoint"), "-o", str(work / "artifact"), "--no-parity")


def transcription_peak(work: Path, threads: int) -> str:
    """Peak memory of `edgewhisper transcribe` on one window of noise, as it prints it."""
    import numpy as np
    import soundfile

    audio = work / "noise.wav"
    noise = np.random.default_rng(0).standard_normal(WINDOW_SECONDS * 16_000) * 0.05
    soundfile.write(audio, noise.astype(np.float32), 16_000)
    options = ["--no-timestamps", "--temperature", "0", "--threads", str(threads)]
    written = _command("transcribe", str(audio), "-a", str(work / "artifact"), *options)
    return written.strip().splitlines()[-1]


def print_table(model: str, threads: int, figures: dict[str, Figures], peak: str) -> None:
    """Medians, their ratio to ours, and what disturbed them."""
    print(f"\n{model}, random weights, {WINDOW_SECONDS} s window, {threads} threads, fp32, greedy")
    print(f"{'engine':<16}{'encode ms':>10}{'ms/token':>10}{'peak MB':>9}   (tokens {FIRST} to {LAST})")
    for name, result in figures.items():
        if result.failure is not None:
            print(f"{name:<16}not measured: {result.failure}")
            continue
        note = (
            f"   {result.disturbed} timings disturbed by more than {TOLERATED:.0%}"
            if result.disturbed
            else ""
        )
        print(f"{name:<16}{result.encode_ms:>10.1f}{result.token_ms:>10.2f}{result.peak / 1e6:>9.0f}{note}")
    print(f"edgewhisper transcribe, {WINDOW_SECONDS} s: {peak}")


def _command(*arguments: str) -> str:
    """Run the edgewhisper command; what it wrote to standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "edgewhisper", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise EdgeWhisperError(f"edgewhisper {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stderr


if __name__ == "__main__":
    main()
