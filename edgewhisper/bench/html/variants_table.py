"""The table of a model's variants: what each is, what it takes, how well it hears."""

from collections.abc import Callable
from dataclasses import dataclass

from edgewhisper.bench.run import Accuracy

from .cells import Cell, Column, Row, Table, number, spread, words
from .sections import Entry, Section
from .text import megabytes, percent, plural, points, printable


@dataclass(frozen=True)
class Quantity:
    """A column and how its cells come from a variant."""

    column: Column
    cell: Callable[[Entry], Cell]


_VARIANT, _TIME, _MEMORY, _WORK, _ERRORS = "Variant", "Time", "Memory and disk", "Work", "Accuracy"


def _known(title: str, *, numeric: bool) -> Column:
    return Column(title, _VARIANT, numeric, known=True)


def variants_table(section: Section) -> Table:
    """A row for each variant, those that failed too."""
    runs = [_RUN] if len(section.models) > 1 else []
    quantities = [*_NAMES, _THREADS, *runs, *_MEASURED]
    rows = [
        Row(
            tuple(quantity.cell(entry) for quantity in quantities),
            None if entry.variant.failure is None else printable(entry.variant.failure) or "no reason given",
        )
        for entry in section.entries
    ]
    columns = tuple(quantity.column for quantity in quantities)
    return Table(_caption(section), columns, tuple(rows)).with_data()


def _caption(section: Section) -> str:
    models = section.models.values()
    timed = dict.fromkeys(
        f"{model.window:g} s of sound and {model.tokens} tokens" for model in models if model.tokens
    )
    parts = [f"A window is {' or '.join(timed)}"] if timed else []
    if any(model.random_weights for model in models):
        parts.append("weights are random, so there is no accuracy")
    corpora = [entry.variant.accuracy for entry in section.entries if entry.variant.accuracy]
    named = dict.fromkeys(f"{each.corpus} ({plural(each.words, 'word')})" for each in corpora)
    if named:
        parts.append(f"errors on {', '.join(named)} with 95 % intervals")
    text = printable("; ".join(parts) or "Nothing was timed")
    return f"{text[0].upper()}{text[1:]}."


def _options(entry: Entry) -> Cell:
    return words(", ".join(f"{key} {value}" for key, value in entry.variant.options.items()))


def _accuracy(show: Callable[[Accuracy], Cell]) -> Callable[[Entry], Cell]:
    return lambda entry: Cell() if entry.variant.accuracy is None else show(entry.variant.accuracy)


def _wer(found: Accuracy) -> Cell:
    return Cell(percent(found.wer), found.wer, f"{percent(found.low)} to {percent(found.high)}")


def _delta(found: Accuracy) -> Cell:
    if found.delta is None:
        return Cell()
    difference, low, high = found.delta
    return Cell(points(difference), difference, f"{points(low)} to {points(high)}")


def _speed_up(value: float) -> str:
    return f"{value:.2f}×"


_NAMES = (
    Quantity(_known("name", numeric=False), lambda entry: words(entry.variant.name)),
    Quantity(_known("precision", numeric=False), lambda entry: words(entry.variant.precision)),
    Quantity(_known("options", numeric=False), _options),
)
_RUN = Quantity(_known("run", numeric=True), lambda entry: Cell(str(entry.run), entry.run))
_THREADS = Quantity(
    _known("threads", numeric=True), lambda entry: Cell(str(entry.variant.threads), entry.variant.threads)
)
_MEASURED = (
    Quantity(
        Column("load, s", _TIME, meaning="from the start of the process to a loaded model"),
        lambda entry: spread(entry.variant.load),
    ),
    Quantity(
        Column("first token, ms", _TIME, meaning="from the window's frames to the first token"),
        lambda entry: spread(entry.variant.first_token_ms),
    ),
    Quantity(
        Column("encoder, ms", _TIME, meaning="one window, with the keys and values of cross-attention"),
        lambda entry: spread(entry.variant.encoder_ms),
    ),
    Quantity(
        Column("ms/token", _TIME, meaning="one token in the middle of a text"),
        lambda entry: spread(entry.variant.token_ms),
    ),
    Quantity(
        Column("window, ms", _TIME, meaning="encoder and all tokens of one window"),
        lambda entry: spread(entry.variant.window_ms),
    ),
    Quantity(
        Column("real-time factor", _TIME, meaning="time of a window over its length"),
        lambda entry: number(entry.real_time_factor),
    ),
    Quantity(
        Column(
            "speed-up", _TIME, meaning="time of a window of the first variant on the machine over this one's"
        ),
        lambda entry: number(entry.speed_up, _speed_up),
    ),
    Quantity(
        Column("peak, MB", _MEMORY, meaning="the most that a fresh process needs for a window"),
        lambda entry: number(entry.variant.peak, megabytes),
    ),
    Quantity(
        Column("steady, MB", _MEMORY, meaning="after a window"),
        lambda entry: number(entry.variant.steady, megabytes),
    ),
    Quantity(
        Column("GPU, MB", _MEMORY, meaning="memory that the process holds on the GPU after a window"),
        lambda entry: number(entry.variant.device, megabytes),
    ),
    Quantity(
        Column("disk, MB", _MEMORY, meaning="what is installed of the model"),
        lambda entry: number(entry.variant.disk, megabytes),
    ),
    Quantity(
        Column("CPU", _WORK, meaning="processor time over wall time while a window is decoded"),
        lambda entry: number(entry.variant.cpu),
    ),
    Quantity(
        Column("joules", _WORK, meaning="that a window takes"), lambda entry: number(entry.variant.joules)
    ),
    Quantity(
        Column(
            "same text, %",
            _ERRORS,
            meaning="of the windows decoded with guesses, those with the text without",
        ),
        lambda entry: number(entry.variant.same_text, percent),
    ),
    Quantity(Column("WER, %", _ERRORS, meaning="word error rate"), _accuracy(_wer)),
    Quantity(
        Column("WER change, points", _ERRORS, meaning="percentage points more than the baseline"),
        _accuracy(_delta),
    ),
    Quantity(
        Column("CER, %", _ERRORS, meaning="character error rate"),
        _accuracy(lambda found: number(found.cer, percent)),
    ),
    Quantity(
        Column("same tokens, %", _ERRORS, meaning="of the baseline's tokens, those that are written too"),
        _accuracy(lambda found: number(found.same_tokens, percent)),
    ),
)
