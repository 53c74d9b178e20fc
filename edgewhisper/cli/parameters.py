"""Values of options that click does not parse by itself."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import click

if TYPE_CHECKING:
    from edgewhisper.runtime.pcm import RawFormat


_SPECULATE: tuple[Literal["auto"], Literal["off"]] = ("auto", "off")


class FolderPath(click.Path):
    """The path of a folder; an empty name, such as an unset shell variable leaves behind, is refused."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        if not os.fspath(value):
            self.fail("the name is empty; give a folder.", param, ctx)
        return super().convert(value, param, ctx)


class Seconds(click.FloatRange):
    """A length of time, which has an end: NaN passes click's ranges."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value} is not a number of seconds.", param, ctx)
        return seconds


def parse_raw_format(
    context: click.Context, option: click.Parameter, value: str | None
) -> "RawFormat | None":
    """ENCODING:RATE[:CHANNELS] -> how to read samples without a header."""
    if value is None:
        return None
    from edgewhisper.runtime.pcm import Encoding, RawFormat

    encoding, *numbers = value.split(":")
    if encoding in get_args(Encoding) and len(numbers) in (1, 2) and all(map(str.isdecimal, numbers)):
        rate, channels = int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else 1
        return RawFormat(rate, channels, cast(Encoding, encoding))
    known = ", ".join(get_args(Encoding))
    raise click.BadParameter(
        f"'{value}' is not ENCODING:RATE[:CHANNELS], e.g. s16le:16000:1; encodings are {known}."
    )


def parse_settings(context: click.Context, option: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE, given any number of times -> a mapping."""
    settings = {}
    for value in values:
        key, separator, setting = value.partition("=")
        if not key or not separator:
            raise click.BadParameter(f"'{value}' is not KEY=VALUE.")
        settings[key] = setting
    return settings


def parse_speculate(
    context: click.Context, option: click.Parameter, value: str
) -> Literal["auto", "off"] | int:
    """ "auto", "off" or a number of tokens; the transcriber checks how many the model has room for."""
    for name in _SPECULATE:
        if value == name:
            return name
    if not value.isdecimal() or not int(value):
        raise click.BadParameter(f"'{value}' is not auto, off or a number of tokens of 1 or more.")
    return int(value)


def parse_batch(context: click.Context, option: click.Parameter, value: str) -> Literal["auto"] | int:
    """ "auto" or a number of windows."""
    if value == "auto":
        return "auto"
    if not value.isdecimal() or not int(value):
        raise click.BadParameter(f"'{value}' is not auto or a number of windows of 1 or more.")
    return int(value)
