"""Speed and memory of engines on one checkpoint of random weights."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgewhisper.artifact import load_manifest
from edgewhisper.errors import EdgeWhisperError

from .clips import time_clips, write_clip
from .engines import OURS, engine_kind
from .engines.common import split_device
from .engines.ours import artifact_folder, parse_form, transcription
from .gpu import gpu_memory, held_by
from .memory import peak_of_command
from .progress import Tell, silent
from .run import Spread, Variant
from .sensors import joules
from .speed import LAST, Speed, compare, spreads
from .workers import Contestant, Setting, Worker, convert_all, started_workers

_WINDOW_SECONDS = 30.0
_LOADS = 2  # the start of the process whose speed is measured is one


Keep = Callable[[Sequence[Variant]], None]


@dataclass(frozen=True)
class Wanted:
    """What is measured; converting takes its time in any case.

    Attributes:
        clips: seconds of the recordings that this project's variants transcribe.
        rounds: of timings, at least.
        seconds: for which rounds of timings go on.
    """

    speed: bool = True
    memory: bool = True
    clips: tuple[float, ...] = ()
    rounds: int = 5
    seconds: float = 0.0


def write_checkpoint(model: str, work: Path) -> None:
    """Make `work/checkpoint`, random weights that stop by themselves after LAST tokens, unless it is there.

    Raises:
        EdgeWhisperError: there is no such model, or the folder cannot be written.
    """
    if (work / "checkpoint").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    command = ["-m", "edgewhisper", "random", model, "-o", str(work / "checkpoint"), "--tokens", str(LAST)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EdgeWhisperError(done.stderr.strip().removeprefix("edgewhisper: error: "))


def measure(
    contestants: Sequence[Contestant],
    setting: Setting,
    wanted: Wanted,
    tell: Tell = silent,
    keep: Keep = lambda variants: None,
) -> tuple[Variant, ...]:
    """Convert the checkpoint for every engine, then measure those that it could be converted for.

    Args:
        contestants: the engines; the first is what the others are compared with.
        setting: what they have in common.
        wanted: what is measured.
        tell: what is done.
        keep: gets all variants with what was measured so far, again and again.

    Returns:
        A variant for each, in the order of `contestants`; what failed has the reason.
    """
    failed = convert_all(contestants, setting, tell)
    variants = {each.name: _blank(each.name, setting, failed.get(each.name)) for each in contestants}
    ready = [each for each in contestants if each.name not in failed]
    if wanted.speed:
        variants |= _with_speed(variants, ready, setting, wanted, tell, keep)
        keep([*variants.values()])
    if wanted.memory:
        for number, contestant in enumerate(ready, 1):
            if variants[contestant.name].failure is None:
                tell(f"memory of {contestant.name} ({number} of {len(ready)})")
                variants[contestant.name] = _with_memory(variants[contestant.name], contestant, setting)
                keep([*variants.values()])
    return tuple(variants.values())


def _blank(name: str, setting: Setting, failure: str | None) -> Variant:
    engine, options = name, dict[str, str]()
    try:
        precision = engine_kind(name).precision
    except KeyError:
        precision = ""
    else:
        if name.startswith(f"{OURS}-"):
            engine, (precision, options) = OURS, describe_form(precision)
        else:
            precision, device = split_device(precision)
            engine = name.removesuffix(f"-{device}").removesuffix(f"-{precision}")
            options = {} if device == "cpu" else {"provider": device}
    return Variant(name, engine, precision, options, setting.threads, failure=failure)


def describe_form(form: str) -> tuple[str, dict[str, str]]:
    """Precision and options of one of this project's forms, as a variant states them."""
    parsed = parse_form(form)
    options = {} if parsed.acceptance is None else {"acceptance": form.rpartition("@")[2]}
    if parsed.provider != "cpu":
        options["provider"] = parsed.provider
    if not parsed.build:
        return load_manifest(Path(form)).graph("decoder").precision, options
    return form.partition("@")[0].replace(f"-{parsed.provider}", ""), options


def _with_speed(
    variants: Mapping[str, Variant],
    contestants: Sequence[Contestant],
    setting: Setting,
    wanted: Wanted,
    tell: Tell,
    keep: Keep,
) -> dict[str, Variant]:
    with started_workers(contestants, setting, tell) as (workers, failed):

        def found(speeds: Mapping[str, Speed]) -> dict[str, Variant]:
            first = speeds.get(next(iter(variants)))
            measured = {name: _timed(variants[name], workers[name], speeds[name], first) for name in speeds}
            return {**variants, **failures(failed), **measured}

        def failures(reasons: Mapping[str, str]) -> dict[str, Variant]:
            return {name: replace(variants[name], failure=reason) for name, reason in reasons.items()}

        speeds, failed_later = compare(
            workers, wanted.rounds, wanted.seconds, tell, lambda so_far: keep([*found(so_far).values()])
        )
        ours = {name: workers[name] for name in speeds if variants[name].engine == OURS}
        clips = time_clips(ours, setting.work, wanted.clips, wanted.rounds, tell)
        measured = {**found(speeds), **failures(failed_later)}
    return measured | {name: replace(measured[name], clips=of_name) for name, of_name in clips.items()}


def _timed(variant: Variant, worker: Worker, speed: Speed, first: Speed | None) -> Variant:
    """With what was measured so far, and compared with the first variant."""
    return replace(
        variant,
        versions=worker.versions,
        load=Spread.of([worker.load_seconds]),
        first_token_ms=speed.first_token.spread_ms(),
        encoder_ms=speed.encoder_ms(),
        token_ms=speed.token_ms(),
        step_ms=spreads(speed.steps),
        window_ms=speed.window_ms(),
        cpu=round(speed.cpu(), 3),
        same_text=worker.same_text,
        ratios={} if first is None or speed is first else speed.ratios(first),
    )


def _with_memory(variant: Variant, contestant: Contestant, setting: Setting) -> Variant:
    """The same, with load time and memory of fresh processes that encode one window and decode it."""
    loads = [] if variant.load is None else [variant.load.median]
    energy: float | None = None
    device: int | None = None
    try:
        while len(loads) < _LOADS - 1:
            with Worker(contestant, setting) as worker:
                loads.append(worker.load_seconds)
        on_gpu_before = gpu_memory() if variant.on_gpu else None
        with Worker(contestant, setting) as worker:
            loads.append(worker.load_seconds)
            before = joules()
            worker.ask(stage="encode")
            worker.ask(stage="decode", tokens=LAST)
            after = joules()
            if before is not None and after is not None and after > before:
                energy = round(after - before, 3)
            peak, steady = worker.peak(), worker.resident()
            if variant.on_gpu:
                device = held_by(worker.process, on_gpu_before, gpu_memory())
        disk = None
        if variant.engine == OURS:
            form = contestant.name.removeprefix(f"{OURS}-")
            disk = folder_size(artifact_folder(setting.work, form))
            if "@" not in form:  # the command runs drafts as they come
                peak = max(peak, _transcription_peak(form, setting))
    except EdgeWhisperError as error:
        return replace(variant, failure=str(error))
    return replace(
        variant,
        load=Spread.of(loads),
        peak=peak,
        steady=steady,
        device=device,
        disk=disk,
        versions=worker.versions,
        joules=energy,
    )


def folder_size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir())


def _transcription_peak(form: str, setting: Setting) -> int:
    """Peak memory of `edgewhisper transcribe` on one window of noise, in bytes."""
    recording = write_clip(setting.work, _WINDOW_SECONDS)
    return peak_of_command(transcription(setting.work, form, recording, setting.threads))
