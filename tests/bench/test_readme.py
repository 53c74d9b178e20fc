"""The README's table is that of the run that is committed beside it."""

import re
from pathlib import Path

import pytest

from edgewhisper.bench.readme import BEGIN, END, results, with_results
from edgewhisper.bench.run import read_run
from edgewhisper.errors import UsageError

ROOT = Path(__file__).parents[2]


def test_the_table_is_that_of_the_committed_run() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"\]\((benchmarks/[^)]+\.json)\)", text)
    assert with_results(text, results(read_run(ROOT / source), source)) == text


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(UsageError, match="has no marks"):
        with_results(f"{BEGIN} but no end", "table")
    assert with_results(f"a {BEGIN}old{END} b", "new") == f"a {BEGIN}\nnew\n{END} b"
