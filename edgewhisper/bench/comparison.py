"""Two runs compared variant by variant: what became slower, larger or less accurate, beyond what measurements scatter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from edgewhisper.errors import MissingDependencyError

from .agreement import Ratio, format_agreement, ratios
from .run import Accuracy, Clip, Machine, Model, Run, Spread, Variant

Verdict = Literal["same", "regression", "improvement"]


@dataclass(frozen=True)
class Tolerance:
    """Relative differences that do not count: 0.1 takes from 1/1.1 to 1.1 times the old value. Error rates have their intervals alone."""

    times: float = 0.10
    memory: float = 0.05


@dataclass(frozen=True)
class Measurement:
    """A value and what it scattered over: least and most, p50 and p95, or a 95 % interval; both the value where there is only one."""

    value: float
    low: float
    high: float
    disturbed: int = 0


@dataclass(frozen=True)
class Difference:
    """One quantity in both runs; less of it is better.

    Attributes:
        quantity: with its unit, such as "encoder, ms".
        old, new: what was measured.
        verdict: on the new one.
    """

    quantity: str
    old: Measurement
    new: Measurement
    verdict: Verdict

    @property
    def ratio(self) -> float | None:
        """New over old; None where the old value is 0."""
        return self.new.value / self.old.value if self.old.value else None


@dataclass(frozen=True)
class VariantComparison:
    """A variant that both runs have.

    Attributes:
        model, variant: their names.
        differences: of what both measured.
        old_failure, new_failure: why it could not be measured.
    """

    model: str
    variant: str
    differences: tuple[Difference, ...]
    old_failure: str | None = None
    new_failure: str | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst of all its differences; a variant that fails now and did not is a regression."""
        verdicts = {difference.verdict for difference in self.differences}
        if "regression" in verdicts or (self.new_failure is not None and self.old_failure is None):
            return "regression"
        recovered = self.old_failure is not None and self.new_failure is None
        return "improvement" if "improvement" in verdicts or recovered else "same"


@dataclass(frozen=True)
class Comparison:
    """All that both runs have.

    Attributes:
        variants: in the order of the new run.
        only_old, only_new: (model, variant) that only one run has.
        warnings: why numbers may differ for another reason than the code.
        ratios: of variants to the first one of their model, whatever the machine did meanwhile.
        tolerance: relative difference of times that does not count.
    """

    variants: tuple[VariantComparison, ...]
    only_old: tuple[tuple[str, str], ...] = ()
    only_new: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    tolerance: float = Tolerance.times

    @property
    def has_regression(self) -> bool:
        """Whether a variant became worse."""
        return any(variant.verdict == "regression" for variant in self.variants)


def same_machine(first: Machine, second: Machine) -> bool:
    """Whether times of both can be compared; other software, and memory that the system reserves, make no other machine.

    Nor does a GPU that only one tells of: it was not asked for, or not there for what it measured.
    """
    gpus = {machine.gpu.partition(", driver")[0] for machine in (first, second) if machine.gpu}
    return _hardware(first) == _hardware(second) and len(gpus) < 2


def _hardware(machine: Machine) -> tuple[object, ...]:
    return machine.board, machine.processor, machine.architecture, machine.cores


def compare(old: Run, new: Run, tolerance: Tolerance | None = None) -> Comparison:
    """Compare what has the same names of model and variant."""
    allowed = tolerance or Tolerance()
    before, after = _by_name(old), _by_name(new)
    shared = [name for name in after if name in before]
    return Comparison(
        tuple(_compare_variant(name, before[name][1], after[name][1], allowed) for name in shared),
        tuple(name for name in before if name not in after),
        tuple(name for name in after if name not in before),
        tuple(_warnings(old, new, [(name, before[name], after[name]) for name in shared])),
        ratios(old, new),
        allowed.times,
    )


_Found = tuple[Model, Variant]


def _by_name(run: Run) -> dict[tuple[str, str], _Found]:
    return {
        (model.name, variant.name): (model, variant) for model in run.models for variant in model.variants
    }


def _compare_variant(
    name: tuple[str, str], old: Variant, new: Variant, tolerance: Tolerance
) -> VariantComparison:
    before, after = dict(_measurements(old, tolerance)), dict(_measurements(new, tolerance))
    differences = tuple(
        Difference(
            quantity, before[quantity][0], measurement, _verdict(before[quantity][0], measurement, allowed)
        )
        for quantity, (measurement, allowed) in after.items()
        if quantity in before
    )
    return VariantComparison(*name, differences, old.failure, new.failure)


def _verdict(old: Measurement, new: Measurement, tolerance: float) -> Verdict:
    if new.value > old.value * (1 + tolerance) and new.low > old.high:
        return "regression"
    if old.value > new.value * (1 + tolerance) and old.low > new.high:
        return "improvement"
    return "same"


def _measurements(variant: Variant, tolerance: Tolerance) -> Iterator[tuple[str, tuple[Measurement, float]]]:
    """What was measured, by quantity, with the tolerance for it."""
    times: dict[str, Spread | Clip | None] = {
        "load, s": variant.load,
        "first token, ms": variant.first_token_ms,
        "encoder, ms": variant.encoder_ms,
        "ms/token": variant.token_ms,
        "window, ms": variant.window_ms,
        **{f"{clip.seconds:g} s of sound, s": clip for clip in variant.clips},
    }
    for quantity, measured in times.items():
        if measured is not None:
            yield quantity, (_time(measured), tolerance.times)
    sizes = {"peak memory, MB": variant.peak, "GPU memory, MB": variant.device, "disk, MB": variant.disk}
    for quantity, size in sizes.items():
        if size is not None:
            yield quantity, (Measurement(size / 1e6, size / 1e6, size / 1e6), tolerance.memory)
    if variant.accuracy is not None:
        yield f"WER on {_corpus(variant.accuracy)}, %", (_errors(variant.accuracy), 0.0)


def _time(measured: Spread | Clip) -> Measurement:
    if isinstance(measured, Clip):
        return Measurement(measured.p50, measured.p50, measured.p95, measured.disturbed)
    return Measurement(measured.median, measured.low, measured.high, measured.disturbed)


def _errors(accuracy: Accuracy) -> Measurement:
    return Measurement(100 * accuracy.wer, 100 * accuracy.low, 100 * accuracy.high)


def _corpus(accuracy: Accuracy) -> str:
    """Errors on other words are another quantity."""
    return f"{accuracy.corpus} ({accuracy.words} words)"


def _warnings(old: Run, new: Run, shared: Sequence[tuple[tuple[str, str], _Found, _Found]]) -> Iterator[str]:
    if not same_machine(old.machine, new.machine):
        yield (
            f"different machines: {describe_machine(old.machine)}, then {describe_machine(new.machine)}; "
            "differences of time say nothing about the code"
        )
    for when, run in (("old", old), ("new", new)):
        if not run.finished:
            yield f"the {when} run was ended before it was finished; what it lacks is not compared"
        if run.throttled:
            yield f"the machine slowed down during the {when} run (throttled)"
    for (model, variant), (old_model, before), (new_model, after) in shared:
        settings = (
            ("threads", before.threads, after.threads),
            ("precision", before.precision, after.precision),
            ("options", before.options, after.options),
            ("tokens of the window", old_model.tokens, new_model.tokens),
        )
        changed = [f"{name} {first}, then {second}" for name, first, second in settings if first != second]
        if changed:
            yield f"{model}, {variant}: {'; '.join(changed)}"


def describe_machine(machine: Machine) -> str:
    """Board or processor, cores, and the GPU where there is one."""
    name = f"{machine.board}, {machine.processor}" if machine.board else machine.processor
    gpu = f", {machine.gpu}" if machine.gpu else ""
    return f"{name}, {machine.architecture}, {machine.cores} cores{gpu}"


def format_comparison(comparison: Comparison) -> str:
    """A table of every quantity, then what only one run has, after warnings.

    Raises:
        MissingDependencyError: tabulate is not installed.
    """
    try:
        from tabulate import tabulate
    except ImportError:
        raise MissingDependencyError(
            "the comparison needs tabulate; run 'pip install edgewhisper[build]'"
        ) from None
    rows = [row for variant in comparison.variants for row in _rows(variant)]
    headers = ("model", "variant", "quantity", "old", "new", "ratio", "")
    alignment = ("left", "left", "left", "right", "right", "right", "left")
    parts = [f"warning: {warning}" for warning in comparison.warnings]
    if rows:
        parts.append(tabulate(rows, headers, disable_numparse=True, colalign=alignment))
    if agreement := format_agreement(comparison.ratios, comparison.tolerance):
        parts.append(agreement)
    if not comparison.variants:
        parts.append("no variant is in both runs")
    parts += [line for variant in comparison.variants if (line := _failure(variant))]
    for when, names in (("old", comparison.only_old), ("new", comparison.only_new)):
        parts += [f"only in the {when} run: {_line(f'{model}, {variant}')}" for model, variant in names]
    if any(
        each.old.disturbed or each.new.disturbed for one in comparison.variants for each in one.differences
    ):
        parts.append("* other processes disturbed some of the timings in every attempt")
    return "\n".join(parts)


def _rows(compared: VariantComparison) -> Iterator[tuple[str, ...]]:
    names = _line(compared.model), _line(compared.variant)
    for each in compared.differences:
        ratio = "-" if each.ratio is None else f"{each.ratio:.2f}"
        verdict = "" if each.verdict == "same" else each.verdict
        yield (*names, each.quantity, _shown(each.old), _shown(each.new), ratio, verdict)


def _failure(compared: VariantComparison) -> str:
    name = _line(f"{compared.model}, {compared.variant}")
    match compared.old_failure, compared.new_failure:
        case None, None:
            return ""
        case None, str(reason):
            return f"regression: {name}: fails now ({_line(reason)})"
        case str(reason), None:
            return f"improvement: {name}: failed before ({_line(reason)})"
        case _, reason:
            return f"{name}: still fails ({_line(reason or '')})"


def _shown(measurement: Measurement) -> str:
    return f"{measurement.value:.4g}{'*' if measurement.disturbed else ''}"


def _line(text: str) -> str:
    return " ".join(text.split())
