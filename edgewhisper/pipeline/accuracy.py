"""Error rates of the bundled model in every form of a benchmark run, on the bundled recordings."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgewhisper.bench.corpora.open import open_corpus
from edgewhisper.bench.engines.ours import STUDENT, parse_form
from edgewhisper.bench.evaluation.evaluate import evaluate
from edgewhisper.bench.evaluation.transcribing import Task
from edgewhisper.bench.measure import describe_form, folder_size
from edgewhisper.bench.run import Model, Run, Variant
from edgewhisper.bench.spreading.local import local_engine
from edgewhisper.errors import EdgeWhisperError
from edgewhisper.models.cards import DEMO, DEMO_STUDENT
from edgewhisper.runtime.options import DecodingOptions

from .recordings import BUNDLED_RECORDINGS

_BASELINE = "fp32"


def with_accuracy(run: Run, forms: Sequence[str], told: Callable[[str], None] = lambda line: None) -> Run:
    """The run with the bundled model's error rates in each form, against fp32; a form that no GPU runs here has the reason.

    Args:
        run: of random weights, which have no accuracy.
        forms: as `engines.ours.parse_form` reads them; pruned ones are measured too, and the bundled student as that of random weights.
        told: what is built and measured.

    Raises:
        EdgeWhisperError: a build or an evaluation failed.
    """
    names = list(dict.fromkeys([_BASELINE, *forms]))
    folder = Path(tempfile.mkdtemp(prefix="edgewhisper-accuracy-"))
    try:
        tasks = {name: _task(name, folder, told) for name in names}
        failed = {name: reason for name, task in tasks.items() if (reason := _why_not(task))}
        working = [task for name, task in tasks.items() if name not in failed]
        found = evaluate(
            working, open_corpus(BUNDLED_RECORDINGS), folder / "results", local_engine(1),
            progress=lambda name, done, total: told(f"accuracy of {name}, {done} of {total} recordings"),
        )  # fmt: skip
        measured = {
            item.name: replace(
                _variant(item.name),
                disk=folder_size(folder / item.name),
                accuracy=item.score.accuracy(
                    "bundled recordings",
                    item.comparison.delta if item.comparison else None,
                    item.comparison.same_tokens if item.comparison else None,
                ),
            )
            for item in found
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    variants = tuple(
        replace(_variant(name), failure=failed[name]) if name in failed else measured[name] for name in names
    )
    return replace(run, models=(*run.models, Model(DEMO, False, 0, variants)))


def _variant(form: str) -> Variant:
    return Variant(f"edgewhisper-{form}", "edgewhisper", *describe_form(form))


def _why_not(task: Task) -> str | None:
    """Why an artifact for a GPU cannot be run here."""
    if task.provider == "cpu":
        return None
    try:
        task.start()
    except EdgeWhisperError as error:
        return str(error)
    return None


def _task(name: str, folder: Path, told: Callable[[str], None]) -> Task:
    from .build import build
    from .options import BuildOptions

    model = DEMO_STUDENT if name == STUDENT else DEMO
    told(f"building {model} as {name}")
    form = parse_form(name)
    given = dict(zip(form.build[::2], form.build[1::2], strict=True))
    converted = BuildOptions(
        precision=given.get("--precision", "fp32"),  # type: ignore[arg-type]
        target=given.get("--target"),  # type: ignore[arg-type]
        ops=given.get("--ops", "fused"),  # type: ignore[arg-type]
        winograd=given.get("--winograd", "auto"),  # type: ignore[arg-type]
        prune_heads=float(given.get("--prune-heads", 0)),
        prune_feed_forward=float(given.get("--prune-feed-forward", 0)),
        gate="off",
    )
    build(model, folder / name, converted, parity=False)
    return Task(folder / name, DecodingOptions(temperature=0.0), provider=form.provider)
