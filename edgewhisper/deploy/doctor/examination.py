"""The whole examination, from the processor to what to expect."""

import platform
from collections.abc import Callable
from pathlib import Path

from edgewhisper import __version__
from edgewhisper.runtime.contention import TOLERATED
from edgewhisper.runtime.sensors import temperature

from .artifact import Examined, examine_artifact
from .checks import Check, problem
from .choice import Candidate, Choice, choose_artifact, choose_model, least_memory
from .engine import Engine, ended, try_engine
from .host import Host
from .measurement import SECONDS, measure
from .microphones import check_microphones
from .optional import check_optional
from .processor import check_cores, check_power, check_processor, features
from .report import Device, Report
from .storage import Memory, check_disk, check_memory, check_state, free_disk, memory_needed, read_memory


def examine(
    host: Host,
    artifact: Path | None = None,
    seconds: float = SECONDS,
    on_step: Callable[[str], None] = lambda _: None,
) -> Report:
    """Look at everything; no finding ends it.

    Args:
        host: the machine.
        artifact: a folder; None: what would suit is looked for alone.
        seconds: that measuring may take, loading not included.
        on_step: told what begins, where that takes seconds.

    Raises:
        EdgeWhisperError: no process can be made.
    """
    memory = read_memory(host)  # before anything is loaded
    place = artifact or Path.cwd()
    checks = [*check_processor(host), *check_cores(host)]
    examined = Examined(None, ())
    if artifact is not None:
        on_step("comparing checksums")
        examined = examine_artifact(artifact, host)
    manifest = examined.manifest
    need = None if manifest is None else memory_needed(manifest)
    size = 0 if manifest is None else sum(info.size for info in manifest.files)
    checks += [*check_memory(host, need), *check_disk(place, size), *check_state(), *check_microphones(host)]
    on_step("loading ONNX Runtime")
    engine = try_engine(host, memory.available, manifest)
    checks += [*engine.checks, *check_optional(), *examined.checks]

    use: Choice | None = None
    fits = need is not None and need.least <= memory.with_swap
    if artifact is not None and need is not None and fits and engine.works and examined.usable:
        on_step(f"measuring, about {seconds:.0f} seconds" if seconds else "measuring one window")
        use, found = _try_artifact(host, artifact, examined, need.usual > memory.available, seconds)
        checks += found
    recommended: Choice | None = None
    candidates: tuple[Candidate, ...] = ()
    if engine.works:
        recommended, candidates, found = _recommend(host, engine, memory, place)
        if artifact is None:
            use = recommended
            checks += found
    checks += check_power(host)  # last, when the device has worked
    return Report(__version__, _device(host, engine), tuple(checks), use, recommended, candidates)


def _try_artifact(
    host: Host, artifact: Path, examined: Examined, low_memory: bool, seconds: float
) -> tuple[Choice, list[Check]]:
    """Measure it."""
    manifest = examined.manifest
    assert manifest is not None
    measured, outcome = measure(artifact, manifest, host.cores.threads, low_memory, seconds)
    use = choose_artifact(host, manifest, low_memory, measured)
    if measured is None:
        if outcome.ending == "error":
            found, _, advice = outcome.message.rpartition("; ")
            return use, [
                problem(
                    "artifact-fails",
                    "speed",
                    f"{outcome.step}: {found or outcome.message}",
                    advice if found else None,
                )
            ]
        return use, [ended(outcome, "speed", outcome.step)]
    checks = []
    if all(check.problem != "draft-unusable" for check in examined.checks):
        checks += [problem("draft-unusable", "artifact", warning) for warning in measured.warnings]
    return use, [*checks, *_check_speed(host, use, measured.disturbed)]


def _recommend(
    host: Host, engine: Engine, memory: Memory, place: Path
) -> tuple[Choice | None, tuple[Candidate, ...], list[Check]]:
    """By estimate; NumPy is loaded for it, which a child has tried by now."""
    assert engine.rates is not None
    use, candidates = choose_model(host, engine.rates, memory.available, free_disk(place), memory.swap_free)
    if use is None:
        swap = ", swap included" if memory.swap_free else ""
        text = f"the smallest takes more than the {memory.with_swap / 1e6:,.0f} MB that are free{swap}"
        return None, candidates, [problem("no-model-fits", "model", text)]
    checks = _check_speed(host, use, engine.disturbed)
    if (least := least_memory(use.model)) > memory.available:
        text = f"{use.model} takes {least / 1e6:,.0f} MB even with --low-memory, of {memory.available / 1e6:,.0f} MB that are free without swap"
        checks.append(problem("would-swap", "model", text))
    return use, candidates, checks


def _check_speed(host: Host, use: Choice, disturbed: float) -> list[Check]:
    """What to say of times; nothing of those of an emulated processor."""
    checks = list[Check]()
    if host.processor.emulated:
        return checks
    if disturbed > TOLERATED:
        checks.append(problem("disturbed", "speed", f"waited {disturbed:.0%} of the time for a processor"))
    if use.expected is not None and use.expected.real_time_factor > 1:
        text = f"takes {use.expected.real_time_factor:.1f} times as long as is spoken"
        checks.append(problem("slower-than-speech", "speed", text))
    return checks


def _device(host: Host, engine: Engine) -> Device:
    processor, memory = host.processor, read_memory(host)
    return Device(
        processor=processor.name,
        architecture=processor.architecture,
        bits=host.bits,
        board=processor.board,
        emulated=processor.emulated,
        features=features(host),
        cores=host.cores.physical,
        fast_cores=host.cores.fast,
        governor=host.cores.governor,
        temperature=temperature(host.root),
        memory=memory.total,
        free_memory=memory.available,
        python=platform.python_version(),
        onnxruntime=engine.version,
    )
