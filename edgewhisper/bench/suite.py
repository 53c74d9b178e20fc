"""A whole run of the benchmark: models, variants, peers, and what the machine could do at most."""

import datetime
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgewhisper import __version__
from edgewhisper.artifact import load_manifest
from edgewhisper.errors import EdgeWhisperError, ProviderError, UsageError
from edgewhisper.models.cards import find_card
from edgewhisper.models.json_file import read_json_object
from edgewhisper.models.transformers_folder import read_dimensions
from edgewhisper.runtime.sensors import temperature, throttled
from edgewhisper.runtime.session import check_provider

from .engines import OURS, PEERS, engine_kind
from .engines.ours import STUDENT, artifact_folder, parse_form
from .gpu import gpu_name
from .machine import this_machine
from .measure import Wanted, measure, write_checkpoint
from .progress import Tell, silent
from .roofline import Limits, measure_limits, stages
from .run import Gain, Model, Run, Variant
from .speculation import SpeculationBench
from .speed import LAST
from .workers import Contestant, Setting, Worker

DEFAULT = ("int8", "int8-low-memory", "fp32")
LADDER = (
    "fp32-portable", "fp32-direct", "fp32", "fp16", "int8-dynamic", "int8", "int4", "int8-pruned", STUDENT, "int8-heads@0.75",
)  # fmt: skip
LADDER_ON_GPU = ("fp32-portable-cuda", "fp16-cuda", "fp16-cuda-heads@0.75")
ACCEPTANCES = (0.0, 0.25, 0.5, 0.75, 0.85, 1.0)
_FRAME = 0.01  # seconds between two log-mel frames of any Whisper
_PAST = 60  # tokens in the cache when steps are timed; see `engines.ours`


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        models: shapes of random weights, by name.
        artifacts: folders that are measured as they are, each a model of its own.
        variants: of each model, as `engines.ours.parse_form` reads them; the first is what the others are compared with.
        peers: engines of `PEERS`.
        peers_python: interpreter that has their packages.
        threads: of one graph; several are measured one after the other.
        wanted: what is measured, and for how long.
        work: keeps checkpoints and conversions; None: a temporary folder.
        sustained: minutes for which the first variant goes on, to see whether it becomes slower.
    """

    models: tuple[str, ...]
    artifacts: tuple[Path, ...] = ()
    variants: tuple[str, ...] = DEFAULT
    peers: tuple[str, ...] = ()
    peers_python: str = sys.executable
    threads: tuple[int, ...] = (2,)
    wanted: Wanted = field(default_factory=Wanted)
    work: Path | None = None
    sustained: float = 0.0


def ladder() -> tuple[str, ...]:
    """`LADDER`, and where ONNX Runtime has the provider, the forms on a GPU."""
    try:
        check_provider("cuda")
    except ProviderError:
        return LADDER
    return LADDER + LADDER_ON_GPU


def peers() -> tuple[str, ...]:
    """All of `PEERS`; those on a GPU where the machine has one."""
    on_gpu = gpu_name() is not None
    return tuple(name for name, kind in PEERS.items() if on_gpu or kind.provider == "cpu")


def pytorch() -> tuple[str, ...]:
    """Those of `peers` that a ladder begins with."""
    return tuple(name for name in peers() if name.startswith("transformers"))


def check_plan(plan: Plan) -> None:
    """Refuse names that mean nothing, before anything takes time.

    Raises:
        UsageError: a variant or peer that there is not.
        EdgeWhisperError: a model or artifact that there is not.
    """
    for variant in plan.variants:
        try:
            engine_kind(f"{OURS}-{variant}")
        except KeyError:
            known = ", ".join(dict.fromkeys((*DEFAULT, *LADDER, *LADDER_ON_GPU)))
            raise UsageError(f"variant '{variant}': there is none of that name; known: {known}") from None
        if Path(variant).is_absolute():
            load_manifest(Path(variant))
    for peer in plan.peers:
        if peer not in PEERS:
            raise UsageError(f"peer '{peer}': there is none of that name; known: {', '.join(PEERS)}")
    for model in plan.models:
        find_card(model)
    for artifact in plan.artifacts:
        load_manifest(artifact)


def run_plan(
    plan: Plan,
    command: str,
    told: Callable[[Model], None] = lambda model: None,
    tell: Tell = silent,
    keep: Callable[[Run], None] = lambda run: None,
) -> Run:
    """Measure everything.

    Args:
        plan: what.
        command: what was asked for.
        told: gets each model as soon as it is measured.
        tell: what is done.
        keep: gets the run so far, not finished, whenever there is something new in it.

    Raises:
        UsageError: as `check_plan`.
        EdgeWhisperError: there is no such shape.
    """
    check_plan(plan)
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    machine = this_machine()
    models: list[Model] = []
    slow: list[bool | None] = []
    started = time.monotonic()
    temperatures = _temperature_since(started)

    def run(*unfinished: Model) -> Run:
        return Run(
            when, machine, (*models, *unfinished), {"edgewhisper": __version__}, command,
            temperatures=tuple(temperatures), throttled=next((x for x in slow if x), slow[-1] if slow else None),
            finished=False,
        )  # fmt: skip

    def measured(model: Model) -> None:
        models.append(model)
        slow.append(throttled())
        keep(run())
        told(model)

    with _work_folder(plan.work) as work:
        limits: dict[int, Limits] = {}
        for threads in plan.threads * plan.wanted.speed:
            tell(f"what this machine can do at most with {threads} thread{'s' * (threads > 1)}")
            limits[threads] = measure_limits(threads)
        for name in plan.models:
            tell(f"{name}: writing random weights")
            write_checkpoint(name, work / name)
            contestants = [Contestant(f"{OURS}-{variant}", sys.executable) for variant in plan.variants]
            contestants += [Contestant(peer, plan.peers_python) for peer in plan.peers]
            measured(
                _model(name, contestants, work / name, plan, limits, tell, lambda model: keep(run(model)))
            )
        for artifact in plan.artifacts:
            folder = _folder_of(work, artifact)
            folder.mkdir(parents=True, exist_ok=True)
            contestants = [Contestant(f"{OURS}-{artifact.resolve()}", sys.executable)]
            name = artifact.resolve().name
            measured(_model(name, contestants, folder, plan, limits, tell, lambda model: keep(run(model))))
        if plan.sustained:
            tell(f"{models[0].name}: {plan.sustained:g} minutes without a pause")
            temperatures += _sustain(models, plan, work, started)
    temperatures += _temperature_since(started)
    return replace(run(), finished=True)


def _folder_of(work: Path, artifact: Path) -> Path:
    """Where recordings for an artifact go; no model has such a name."""
    return work / f"of-{artifact.resolve().name}"


@contextmanager
def _work_folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    temporary = Path(tempfile.mkdtemp(prefix="edgewhisper-bench-"))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _model(
    name: str,
    contestants: Sequence[Contestant],
    work: Path,
    plan: Plan,
    limits: dict[int, Limits],
    tell: Tell,
    keep: Callable[[Model], None],
) -> Model:
    setting = _setting(work, plan.threads[0], contestants[0].name.removeprefix(f"{OURS}-"))
    random = (work / "checkpoint").exists()
    form = contestants[0].name.removeprefix(f"{OURS}-")
    if Path(form).is_absolute():
        random = load_manifest(Path(form)).model.random_weights
    model = Model(name, random, LAST, (), window=setting.frames * _FRAME)
    for threads in plan.threads:
        model = _with_threads(
            model, contestants, replace(setting, threads=threads), plan, limits.get(threads), tell, keep
        )
    return replace(model, gains=_gains(contestants, work, plan, lambda line: tell(f"{name}: {line}")))


def _with_threads(
    model: Model,
    contestants: Sequence[Contestant],
    setting: Setting,
    plan: Plan,
    limits: Limits | None,
    tell: Tell,
    keep: Callable[[Model], None],
) -> Model:
    """The same with all variants, run with so many threads."""
    threads = setting.threads
    one_of_many = f" ({threads} thread{'s' * (threads > 1)})" if len(plan.threads) > 1 else ""

    def with_found(found: Sequence[Variant]) -> Model:
        variants = [_with_stages(variant, setting.work, limits) for variant in found]
        shown = [replace(each, name=_shown(each.name, setting.work) + one_of_many) for each in variants]
        return replace(model, variants=(*model.variants, *shown))

    return with_found(
        measure(
            contestants,
            setting,
            plan.wanted,
            lambda line: tell(
                f"{model.name}{one_of_many}: {_without_paths(line, contestants, setting.work)}"
            ),
            lambda found: keep(with_found(found)),
        )
    )


def _setting(work: Path, threads: int, form: str) -> Setting:
    """With the window of an artifact, which may be another than published models have."""
    if Path(form).is_absolute():
        dims = load_manifest(Path(form)).dimensions
    else:
        path = work / "checkpoint" / "config.json"
        dims = read_dimensions(read_json_object(path), path)
    return Setting(work, threads, dims.n_mels, 2 * dims.max_source_positions)


def _shown(name: str, work: Path) -> str:
    path = name.removeprefix(f"{OURS}-")
    return Path(path).name if Path(path).is_absolute() else name


def _without_paths(line: str, contestants: Sequence[Contestant], work: Path) -> str:
    for contestant in contestants:
        line = line.replace(contestant.name, _shown(contestant.name, work))
    return line


def _with_stages(variant: Variant, work: Path, limits: Limits | None) -> Variant:
    form = variant.name.removeprefix(f"{OURS}-")
    if limits is None or variant.engine != OURS or variant.failure or "@" in form or variant.on_gpu:
        return variant  # the limits are those of the processor
    manifest = load_manifest(artifact_folder(work, form))
    return replace(variant, stages=stages(manifest, variant, limits, _PAST))


def _gains(
    contestants: Sequence[Contestant], work: Path, plan: Plan, tell: Tell = silent
) -> tuple[Gain, ...]:
    """Of the first variant that guesses and can be run, at several acceptance rates."""
    guessing = [
        x.name.removeprefix(f"{OURS}-") for x in contestants if x.name.startswith(OURS) and "@" in x.name
    ]
    for form in guessing * plan.wanted.speed:
        folder, provider = artifact_folder(work, form), parse_form(form).provider
        try:
            bench = SpeculationBench(folder, plan.threads[-1], provider)
            found = []
            for rate in ACCEPTANCES:
                tell(f"what speculation gains at an acceptance of {rate:g}")
                found.append(bench.run(rate, LAST, min(plan.wanted.rounds, 3)))
        except Exception as error:  # ONNX Runtime's have no common base; what was measured before is kept
            line = next(iter(str(error).splitlines()), type(error).__name__)
            print(f"{form}: its gains by acceptance are not measured ({line})", file=sys.stderr)
            continue
        return tuple(
            Gain(
                gain.acceptance,
                gain.speedup,
                (gain.accepted + gain.verifications) / gain.verifications if gain.verifications else 1.0,
                imposed=True,
                same_text=gain.same_text,
            )
            for gain in found
        )
    return ()


def _temperature_since(started: float) -> list[tuple[float, float]]:
    now = temperature()
    return [] if now is None else [(round(time.monotonic() - started, 1), now)]


def _sustain(models: list[Model], plan: Plan, work: Path, started: float) -> list[tuple[float, float]]:
    """Windows one after another; memory over time goes to the first variant, temperatures are returned."""
    model = models[0]
    folder = work / plan.models[0] if plan.models else _folder_of(work, plan.artifacts[0])
    form = plan.variants[0] if plan.models else str(plan.artifacts[0].resolve())
    temperatures: list[tuple[float, float]] = []
    memory: list[tuple[float, int]] = []
    # What was seen until it failed stays.
    with suppress(EdgeWhisperError):
        contestant = Contestant(f"{OURS}-{form}", sys.executable)
        with Worker(contestant, _setting(folder, plan.threads[-1], form)) as worker:
            begun = time.monotonic()  # loading is no load
            while time.monotonic() - begun < 60 * plan.sustained:
                worker.ask(stage="encode")
                worker.ask(stage="decode", tokens=LAST)
                memory.append((round(time.monotonic() - begun, 2), worker.resident()))
                temperatures += _temperature_since(started)
    first = replace(model.variants[0], memory_over_time=tuple(memory))
    models[0] = replace(model, variants=(first, *model.variants[1:]))
    return temperatures
