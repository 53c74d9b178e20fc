"""Runs put together: a section for each model, with the variants of all runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgewhisper.bench.comparison import describe_machine, same_machine
from edgewhisper.bench.run import Gain, Model, Run, Variant

from .text import printable


@dataclass(frozen=True)
class Entry:
    """A variant as one run measured it.

    Attributes:
        run: its number, from 1.
        label: the variant's name, with the run where the section has several.
        variant: what was measured.
        baseline: what its speed is compared with.
        seconds: of a window.
    """

    run: int
    label: str
    variant: Variant
    baseline: Variant
    seconds: float

    @property
    def window_ms(self) -> float | None:
        """Median time of a window."""
        return None if self.variant.window_ms is None else self.variant.window_ms.median

    @property
    def real_time_factor(self) -> float | None:
        """Time of a window over its length."""
        return None if self.window_ms is None else self.window_ms / 1e3 / self.seconds

    @property
    def speed_up(self) -> float | None:
        """The baseline's time of a window over this one's."""
        if self.baseline.window_ms is None or not self.window_ms:
            return None
        return self.baseline.window_ms.median / self.window_ms


@dataclass(frozen=True)
class Section:
    """One checkpoint in all runs that have it.

    Attributes:
        name: of the checkpoint.
        models: number of a run -> what it has of the checkpoint.
        entries: of all these, in the order of the runs and in theirs.
    """

    name: str
    models: dict[int, Model]
    entries: tuple[Entry, ...]

    @property
    def gains(self) -> Iterator[tuple[str, tuple[Gain, ...]]]:
        """What speculative decoding gained, with a label for each run that measured it."""
        for number, model in self.models.items():
            if model.gains:
                yield _of_run("speculative decoding", number, len(self.models)), model.gains


def sections(runs: Sequence[Run]) -> tuple[Section, ...]:
    """In the order in which models first appear."""
    models: dict[str, dict[int, Model]] = {}
    for number, run in enumerate(runs, 1):
        for model in run.models:
            models.setdefault(model.name, {})[number] = model
    return tuple(
        Section(printable(name), found, tuple(_entries(found, runs))) for name, found in models.items()
    )


def warnings_about(runs: Sequence[Run]) -> Iterator[str]:
    """Why numbers of these runs may not be comparable."""
    if not all(same_machine(runs[0].machine, run.machine) for run in runs):
        machines = dict.fromkeys(describe_machine(run.machine) for run in runs)
        yield (
            f"Runs of different machines are put together: {'; '.join(machines)}. "
            "Compare times only within a machine; each speed-up is against a variant of the same one."
        )
    for number, run in enumerate(runs, 1):
        if not run.finished:
            which = f"Run {number}" if len(runs) > 1 else "The run"
            yield f"{which} was ended before it was finished; it holds what had been measured by then."
        if run.throttled:
            which = f"during run {number}" if len(runs) > 1 else "while it measured"
            yield f"The machine slowed down {which} (throttled); times are longer than they should be."


def _entries(models: dict[int, Model], runs: Sequence[Run]) -> Iterator[Entry]:
    for number, model in models.items():
        baseline = _baseline(number, models, runs)
        for variant in model.variants:
            label = _of_run(printable(variant.name), number, len(models))
            yield Entry(number, label, variant, baseline or variant, model.window)


def _baseline(number: int, models: dict[int, Model], runs: Sequence[Run]) -> Variant | None:
    """The first variant of the first run whose windows are alike: made on the same machine, with as many tokens."""
    for other, model in models.items():
        alike = same_machine(runs[other - 1].machine, runs[number - 1].machine)
        if alike and model.tokens == models[number].tokens and model.variants:
            return model.variants[0]
    return None


def _of_run(label: str, number: int, runs: int) -> str:
    return f"{label} (run {number})" if runs > 1 else label
