"""Whisper's own text normaliser, from the package openai-whisper: its papers' and everybody's error rates are counted after it."""

import functools
import importlib.util
import sys
import warnings
from collections.abc import Callable
from types import ModuleType

from edgewhisper.errors import MissingDependencyError

_NAME = "whisper_normalizers"
_ENGLISH = "en"


def normaliser(language: str | None) -> Callable[[str], str]:
    """What makes spellings of the same words alike: of English numbers, contractions and British spelling too, elsewhere case and signs.

    Args:
        language: of the text; None counts as another than English.

    Raises:
        MissingDependencyError: openai-whisper is not installed.
    """
    return _english() if language == _ENGLISH else _basic()


@functools.cache
def _english() -> Callable[[str], str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it does not close its table of spellings
        found: Callable[[str], str] = _module().EnglishTextNormalizer()
    return found


@functools.cache
def _basic() -> Callable[[str], str]:
    found: Callable[[str], str] = _module().BasicTextNormalizer()
    return found


@functools.cache
def _module() -> ModuleType:
    """The part of the package that normalises, without the rest, which needs PyTorch and takes seconds to import."""
    package = importlib.util.find_spec("whisper")
    places = list(package.submodule_search_locations or ()) if package else []
    spec = None
    if places:
        folder = f"{places[0]}/normalizers"
        spec = importlib.util.spec_from_file_location(
            _NAME, f"{folder}/__init__.py", submodule_search_locations=[folder]
        )
    try:
        if spec is None or spec.loader is None:
            raise ImportError
        module = importlib.util.module_from_spec(spec)
        sys.modules[_NAME] = module
        spec.loader.exec_module(module)
    except (ImportError, OSError):
        sys.modules.pop(_NAME, None)
        raise MissingDependencyError(
            "error rates are counted after Whisper's own normaliser; run 'pip install edgewhisper[eval,vocab]'"
        ) from None
    return module
