"""The README's table of a committed run: `python -m edgewhisper.bench.readme benchmarks/MACHINE.json` writes it between its marks."""

import sys
from pathlib import Path

from tabulate import tabulate

from edgewhisper.errors import EdgeWhisperError, UsageError

from .run import Run, Spread, Variant, read_run

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
_HEADERS = ("", "encoder ms", "ms per token", "window ms", "peak MB")
_GPU_HEADER = "GPU MB"


def results(run: Run, source: str) -> str:
    """Sentence and table of each model of random weights; `source` is the run's file."""
    machine = run.machine
    parts = []
    for model in run.models:
        if not model.random_weights:
            continue
        threads = model.variants[0].threads
        features = f" ({', '.join(machine.features)})" if machine.features else ""
        on_gpu = any(variant.on_gpu and variant.failure is None for variant in model.variants)
        gpu = f", what ends in -cuda on {machine.gpu}" if on_gpu and machine.gpu else ""
        parts.append(
            f"Random weights of {model.name}'s shape, greedy, windows of {model.window:g} s and {model.tokens} tokens, "
            f"{machine.cores} cores of {machine.processor}{features}, {threads} threads{gpu}, all engines in turn:"
        )
        with_gpu = any(variant.device is not None for variant in model.variants)
        headers = [*_HEADERS, *([_GPU_HEADER] if with_gpu else [])]
        rows = [
            [*_row(variant), *([_megabytes(variant.device)] if with_gpu else [])]
            for variant in model.variants
            if variant.failure is None
        ]
        parts.append(
            tabulate(
                rows, headers, "github", disable_numparse=True,
                colalign=("left", *["right"] * (len(headers) - 1)),
            )
        )  # fmt: skip
        failed = [f"{variant.name} ({variant.failure})" for variant in model.variants if variant.failure]
        if failed:
            parts.append(f"Not measured: {', '.join(failed)}.")
    parts.append(
        f"Measured on {run.when[:10]}; all of it is in [{source}]({source}), a page of it comes with `edgewhisper report`."
    )
    return "\n\n".join(parts)


def _row(variant: Variant) -> tuple[str, ...]:
    name = f"**{variant.name}**" if variant.engine == "edgewhisper" else variant.name
    times = (_ms(variant.encoder_ms, 0), _ms(variant.token_ms, 1), _ms(variant.window_ms, 0))
    return (name, *times, _megabytes(variant.peak))


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:.0f}"


def _ms(spread: Spread | None, digits: int) -> str:
    """At least one digit of what takes less than 10 ms, as on a GPU."""
    if spread is None:
        return ""
    return f"{spread.median:.{1 if spread.median < 10 else digits}f}"


def with_results(text: str, table: str) -> str:
    """A README with the table between its marks.

    Raises:
        UsageError: it has no marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"the README has no marks {BEGIN} and {END}; put them where the table goes")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> int:
    """Write the table of the run that is given into README.md of this folder."""
    if len(sys.argv) != 2:
        print("usage: python -m edgewhisper.bench.readme benchmarks/MACHINE.json", file=sys.stderr)
        return UsageError.exit_code
    readme = Path("README.md")
    try:
        text = with_results(
            readme.read_text(encoding="utf-8"), results(read_run(Path(sys.argv[1])), sys.argv[1])
        )
    except EdgeWhisperError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    readme.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
