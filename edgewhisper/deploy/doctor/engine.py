"""ONNX Runtime and the other packages: do they load, do they compute, is the version known to be good?"""

import importlib
import importlib.metadata
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgewhisper.artifact import Manifest
from edgewhisper.errors import MissingDependencyError
from edgewhisper.runtime.contention import timed
from edgewhisper.runtime.cpuinfo import CpuInfo
from edgewhisper.runtime.onnxruntime_import import onnxruntime

from .checks import Check, fine, problem
from .host import Host
from .products import Rates, measure_rates
from .trial import Outcome, Reporter, run_forked

# Compiled packages that a device needs, ONNX Runtime last; it takes longest.
_PACKAGES = ("numpy", "soundfile", "soxr")
_ENGINE = "onnxruntime"
_COMPUTING = "computing"
_TIMEOUT = 180.0  # seconds: an emulated processor takes long
_LEAST = (1, 24, 4)
_QUOTED = 300  # characters of others' messages


@dataclass(frozen=True)
class Flaw:
    """Versions of ONNX Runtime that are known to be bad.

    Attributes:
        versions: a pattern of whole version numbers.
        what: is wrong.
        harms: whether it is wrong on a processor, with graphs of these precisions.
    """

    versions: str
    what: str
    harms: Callable[[CpuInfo, frozenset[str]], bool]


FLAWS = (
    Flaw(
        r"1\.21\.0",
        "ends with an illegal instruction on a Raspberry Pi 4",
        lambda cpu, _: cpu.is_arm64 and "asimddp" not in cpu.flags,
    ),
    Flaw(r"1\.24\.1", "is broken", lambda *_: True),
    Flaw(
        r"1\.25\..*|1\.26\.0|1\.27\.0",
        "computes some convolutions wrongly on processors with SME",
        lambda cpu, _: "sme" in cpu.flags,
    ),
    Flaw(
        r"1\.29\..*",
        "has a wrong half-precision matrix product on x86-64",
        lambda cpu, precisions: not cpu.is_arm64 and "fp16" in precisions,
    ),
)


def find_flaw(version: str) -> Flaw | None:
    """What is wrong with a version; None where nothing is known of it."""
    return next((flaw for flaw in FLAWS if re.fullmatch(flaw.versions, version)), None)


def version_numbers(version: str) -> tuple[int, ...]:
    """ "1.24.4" -> (1, 24, 4); what follows the numbers does not count."""
    return tuple(int(part) for part in re.match(r"[\d.]*", version)[0].split(".") if part)  # type: ignore[index]


@dataclass(frozen=True)
class Engine:
    """What became of the packages.

    Attributes:
        version: of ONNX Runtime, also where it does not load; "" where it is not installed.
        rates: of its matrix products; None where it does not compute.
        disturbed: share of the time that others took from them.
        checks: what there is to say.
    """

    version: str
    rates: Rates | None
    disturbed: float
    checks: tuple[Check, ...]

    @property
    def works(self) -> bool:
        """Whether everything loads and computes."""
        return self.rates is not None and all(check.status != "failed" for check in self.checks)


def try_engine(
    host: Host, free_memory: int, manifest: Manifest | None, work: Callable[[Reporter], None] | None = None
) -> Engine:
    """Load the packages and compute a few products in a child.

    Args:
        host: the machine.
        free_memory: bytes.
        manifest: of the artifact that will be run; None: none is.
        work: what the child does in place of that.

    Raises:
        EdgeWhisperError: no process can be made.
    """
    threads = host.cores.threads
    outcome = run_forked(work or (lambda reporter: _load_all(reporter, threads, free_memory)), _TIMEOUT)
    versions = dict(outcome.values.get("version", []))
    version = versions.get(_ENGINE) or _installed(_ENGINE)
    checks = [_package(name, text) for name, text in outcome.values.get("failure", [])]
    if outcome.ending != "done":
        checks.append(_ended(outcome, versions))
    elif not checks:
        text = ", ".join(f"{name} {found}" for name, found in versions.items() if name != _ENGINE)
        checks.append(fine("packages", f"{text} load"))
    if version:
        known = check_version(version, host.processor, manifest)
        checks += known if _ENGINE in versions else [check for check in known if check.problem]
    rates = outcome.first("rates")
    return Engine(version, Rates(*rates) if rates else None, outcome.first("disturbed") or 0.0, tuple(checks))


def _load_all(reporter: Reporter, threads: int, free_memory: int) -> None:
    """In the child."""
    missing = False
    for name in (*_PACKAGES, _ENGINE):
        reporter.begin(name)
        try:
            module = onnxruntime() if name == _ENGINE else importlib.import_module(name)
        except (ImportError, OSError, MissingDependencyError) as error:
            reporter.found("failure", (name, _reason(name, error)))
            missing = True
        else:
            reporter.found("version", (name, _version(module, name)))
    if missing:
        return
    reporter.begin(_COMPUTING)
    with timed() as timing:
        rates = measure_rates(threads, free_memory)
    reporter.found("rates", (rates.int8, rates.fp32, rates.bandwidth))
    reporter.found("disturbed", timing.disturbance)


def _version(module: Any, name: str) -> str:
    found = getattr(module, "__version__", None)
    return found if isinstance(found, str) else _installed(name)


def _installed(package: str) -> str:
    """The version that a package's metadata tell without loading it; "" where there are none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _reason(name: str, error: BaseException) -> str:
    """One line; "" where the package is not there at all."""
    while error.__cause__ is not None:  # NumPy wraps the reason in a page of advice
        error = error.__cause__
    if isinstance(error, ModuleNotFoundError) and error.name == name:
        return ""
    return " ".join(str(error).split())[:_QUOTED]


def _package(name: str, reason: str) -> Check:
    about = "ONNX Runtime" if name == _ENGINE else "packages"
    if reason:
        return problem("package-broken", about, f"{name} is installed and does not load: {reason}")
    return problem("package-missing", about, f"{name} is not installed")


def _ended(outcome: Outcome, versions: dict[str, str]) -> Check:
    if outcome.step == _COMPUTING:
        doing = f"ONNX Runtime {versions.get(_ENGINE, '')}: a matrix product"
    else:
        doing = f"loading {outcome.step} {_installed(outcome.step)}".rstrip()
    about = "packages" if outcome.step in _PACKAGES else "ONNX Runtime"
    return ended(outcome, about, doing)


def ended(outcome: Outcome, about: str, doing: str) -> Check:
    """The problem with a child that did not come to its end."""
    name = "hang" if outcome.ending == "timeout" else "crash"
    if outcome.signal == signal.SIGILL:
        name = "illegal-instruction"
    return problem(name, about, f"{doing}: {outcome.message}")


def check_version(version: str, processor: CpuInfo, manifest: Manifest | None) -> list[Check]:
    """What is known of this version of ONNX Runtime, on this processor and with this artifact."""
    about, checks = "ONNX Runtime", list[Check]()
    graphs = manifest.graphs.values() if manifest else ()
    flaw = find_flaw(version)
    if flaw is not None and flaw.harms(processor, frozenset(graph.precision for graph in graphs)):
        checks.append(problem("onnxruntime-broken", about, f"{version} {flaw.what}"))
    elif flaw is not None:
        checks.append(problem("onnxruntime-flawed", about, f"{version} {flaw.what}; here it does no harm"))
    elif version_numbers(version) < _LEAST:
        checks.append(problem("onnxruntime-untested", about, f"{version} is old"))
    needed = max((graph.min_onnxruntime for graph in graphs), key=version_numbers, default="")
    if needed and version_numbers(version) < version_numbers(needed):
        checks.append(problem("onnxruntime-too-old", about, f"{version}; the artifact needs {needed}"))
    return checks or [fine(about, version)]
