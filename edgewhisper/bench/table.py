"""What was measured of one model as a table for the terminal."""

from tabulate import tabulate

from edgewhisper.runtime.contention import TOLERATED

from .agreement import ratio
from .run import Model, Spread, Variant

_HEADERS = [
    "",
    "load s",
    "first token ms",
    "encode ms",
    "ratio",
    "ms/token",
    "ratio",
    "8 tokens",
    "window ms",
    "ratio",
    "peak MB",
]
_GPU_HEADER = "GPU MB"


def format_model(model: Model) -> str:
    """Medians, how many times the first variant's they are, and what disturbed them; then recordings by length, and failures."""
    first = model.variants[0]
    weights = "random weights, " if model.random_weights else ""
    with_gpu = any(variant.device is not None for variant in model.variants)
    headers = [*_HEADERS, *([_GPU_HEADER] if with_gpu else []), ""]
    rows = [
        [*_row(variant, first), *([_megabytes(variant.device)] if with_gpu else []), _remarks(variant)]
        for variant in model.variants
    ]
    parts = [
        f"{model.name}, {weights}{first.threads} threads, greedy, windows of {model.tokens} tokens",
        tabulate(
            rows, headers, disable_numparse=True, colalign=("left", *["right"] * (len(headers) - 2), "left")
        ),
    ]
    if any(variant.clips for variant in model.variants):
        parts.append(_clips(model))
    parts += [
        f"{variant.name}: {variant.failure}" for variant in model.variants if variant.failure is not None
    ]
    return "\n".join(parts)


def _row(variant: Variant, first: Variant) -> list[str]:
    several, one = variant.step_ms.get("8"), variant.step_ms.get("1")
    return [
        variant.name,
        _number(variant.load, 2),
        _number(variant.first_token_ms, 0),
        _number(variant.encoder_ms, 1),
        _ratio(variant, first, "encoder"),
        _number(variant.token_ms, 2),
        _ratio(variant, first, "token"),
        f"{several.median / one.median:.2f}x" if several and one else "",
        _number(variant.window_ms, 0),
        _ratio(variant, first, "window"),
        _megabytes(variant.peak),
    ]


def _remarks(variant: Variant) -> str:
    spreads = (variant.first_token_ms, variant.encoder_ms, variant.token_ms, variant.window_ms)
    disturbed = sum(spread.disturbed for spread in spreads if spread is not None)
    changed = 0.0 if variant.same_text is None else 1 - variant.same_text
    return "; ".join(
        [
            *([f"{disturbed} timings disturbed by more than {TOLERATED:.0%}"] if disturbed else []),
            *([f"guesses changed the text of {changed:.0%} of the windows"] if changed else []),
        ]
    )


def _clips(model: Model) -> str:
    lengths = sorted({clip.seconds for variant in model.variants for clip in variant.clips})
    rows = []
    for variant in model.variants:
        by_length = {clip.seconds: clip for clip in variant.clips}
        if by_length:
            cells = [by_length.get(seconds) for seconds in lengths]
            rows.append(
                [
                    variant.name,
                    *(
                        "-" if x is None else f"{x.p50:.2f} / {x.p95:.2f} ({x.real_time_factor:.3f})"
                        for x in cells
                    ),
                ]
            )
    headers = ["s, median / 95 % (real-time factor)", *(f"{seconds:g} s" for seconds in lengths)]
    return tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * len(lengths)))


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.0f}"


def _number(spread: Spread | None, digits: int) -> str:
    return "-" if spread is None else f"{spread.median:.{digits}f}"


def _ratio(variant: Variant, first: Variant, of: str) -> str:
    found = ratio(variant, first, of)
    return "" if found is None else f"{found:.2f}"
