"""Artifacts on a corpus, one after the other: transcribed, scored and compared with the first."""

import dataclasses
import datetime
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from edgewhisper import __version__
from edgewhisper.artifact import MANIFEST, Manifest, load_manifest, sha256_of
from edgewhisper.atomic import atomic_file
from edgewhisper.bench.corpora.utterance import Corpus, Utterance
from edgewhisper.bench.machine import this_machine
from edgewhisper.bench.run import Model, Run, Variant, write_run
from edgewhisper.bench.spreading.job import Engine
from edgewhisper.errors import CorpusError, OutputError, UsageError
from edgewhisper.runtime.language import language_code
from edgewhisper.runtime.options import check_options

from .normaliser import normaliser
from .results import Header, Result, ResultsFile, printable, read_results
from .scores import Comparison, Score, Scored, compare, score_each, summarise
from .transcribing import Task, short_code


@dataclass(frozen=True)
class Evaluated:
    """One artifact.

    Attributes:
        name: of its folder.
        manifest: what it says of itself.
        score: over all recordings.
        comparison: with the first artifact; None for that one.
        scored: each recording with a reference,
        others: and those that failed or have none.
    """

    name: str
    manifest: Manifest
    score: Score
    comparison: Comparison | None
    scored: Sequence[Scored]
    others: Sequence[Result]


def evaluate(
    tasks: Sequence[Task],
    corpus: Corpus,
    folder: Path,
    engine: Engine,
    *,
    most: int | None = None,
    progress: Callable[[str, int, int | None], None] = lambda name, done, total: None,
) -> list[Evaluated]:
    """Transcribe a corpus with artifacts and score what they write.

    Args:
        tasks: an artifact each; the others are compared with the first.
        corpus: the recordings.
        folder: gets NAME.jsonl with the results of each artifact, which an interrupted run goes on with, NAME.tsv with the errors of each
            recording, and run.json for reports.
        engine: what transcribes.
        most: recordings, from the corpus' beginning; None: all.
        progress: told the artifact's name, how many recordings are done, and of how many.

    Raises:
        UsageError: two artifacts of one name, or results of something else in `folder`.
        OutputError: `folder` cannot be written.
        MissingDependencyError: a package that scoring needs.
        EdgeWhisperError: an artifact cannot be loaded.
    """
    normaliser("en")  # fails before hours of work, not after
    tasks = [replace(task, artifact=task.artifact.absolute()) for task in tasks]
    names = [task.artifact.resolve().name for task in tasks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two artifacts are called '{twice}'; rename a folder, as results go by its name")
    manifests = [_checked(task) for task in tasks]
    found: list[Evaluated] = []
    for name, task, manifest in zip(names, tasks, manifests, strict=True):
        path = folder / f"{name}.jsonl"
        listed = _transcribe(name, task, manifest, corpus, path, engine, most, progress)
        results = _of_corpus(read_results(path), listed)
        found.append(_evaluated(name, task, manifest, results, found[0] if found else None))
        _write_table(folder / f"{name}.tsv", found[-1])
    write_run(_as_run(found, corpus), folder / "run.json")
    return found


def _checked(task: Task) -> Manifest:
    """The artifact's manifest, if the options are for it; before anything takes time."""
    manifest = load_manifest(task.artifact, draft_may_lack=True)
    check_options(replace(task.options, language=task.language), manifest.tokens, manifest.dimensions)
    return manifest


Listed = dict[str, Utterance]
"""What a corpus holds now, by key; the bytes of recordings are left out."""


def _transcribe(
    name: str,
    task: Task,
    manifest: Manifest,
    corpus: Corpus,
    path: Path,
    engine: Engine,
    most: int | None,
    progress: Callable[[str, int, int | None], None],
) -> Listed:
    header = Header(
        name, manifest.model.name, sha256_of(task.artifact / MANIFEST), corpus.place,
        {key: json.dumps(value) for key, value in dataclasses.asdict(task.options).items()}
        | {"given_language": json.dumps(task.language), "provider": task.provider},
    )  # fmt: skip
    total = corpus.size if most is None else min(most, corpus.size or most)
    listed: Listed = {}
    with ResultsFile(path, header) as results:
        progress(name, len(results.done), total)

        def left() -> Iterator[Utterance]:
            for utterance in islice(corpus, most):
                if utterance.key in listed:
                    raise CorpusError(
                        f"{corpus.name}: has two recordings called '{utterance.key}'; rename one"
                    )
                listed[utterance.key] = replace(utterance, audio=None)
                if results.done.get(utterance.key) != utterance.stamp:
                    yield utterance

        with closing(engine(task, left())) as found:
            for result in found:
                results.add(result)
                progress(name, len(results.done), total)
    return listed


def _of_corpus(results: Iterator[Result], listed: Listed) -> Iterator[Result]:
    """Results of recordings that the corpus has still, with the transcripts that it has now."""
    for result in results:
        utterance = listed.get(result.key)
        if utterance is not None:
            problem = utterance.problem if result.text is not None else result.problem or utterance.problem
            yield replace(result, reference=utterance.text, spoken=utterance.language, problem=problem)


def _evaluated(
    name: str, task: Task, manifest: Manifest, results: Iterator[Result], baseline: Evaluated | None
) -> Evaluated:
    given = None if task.language is None else language_code(task.language, manifest.tokens)
    # The same reference is normalised in the same way for all artifacts, whatever each of them heard.
    heard = {} if baseline is None else {x.result.key: x.language for x in baseline.scored}
    scored, others = score_each(
        results, lambda x: given or short_code(x.spoken) or heard.get(x.key, x.language)
    )
    comparison = None
    if baseline is not None:
        same = baseline.manifest.dimensions.vocab_size == manifest.dimensions.vocab_size
        comparison = compare(baseline.scored, scored, same_vocabulary=same)
    return Evaluated(name, manifest, summarise(scored, others), comparison, scored, others)


def _write_table(path: Path, evaluated: Evaluated) -> None:
    """A line for each recording, with tabs: key, words, hits, S, D, I, characters, their errors, repeated phrases, seconds, problem."""
    lines = [
        "file\twords\thits\tsubstitutions\tdeletions\tinsertions\tcharacters\tcharacter_errors\trepeated\tseconds\tproblem"
    ]
    for item in evaluated.scored:
        counts = item.counts
        lines.append("\t".join(map(str, (
            printable(item.result.key), counts.words, counts.hits, counts.substitutions, counts.deletions, counts.insertions,
            counts.characters, counts.character_errors, counts.repeated, item.result.seconds, "",
        ))))  # fmt: skip
    lines += [
        f"{printable(result.key)}{9 * chr(9)}{result.seconds}\t{printable(result.problem or '')}"
        for result in evaluated.others
    ]
    try:
        with atomic_file(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None


def _as_run(found: Sequence[Evaluated], corpus: Corpus) -> Run:
    """For reports: a model for each name, its artifacts as variants."""
    models: dict[str, list[Variant]] = {}
    for item in found:
        comparison = item.comparison
        accuracy = item.score.accuracy(
            corpus.name,
            comparison.delta if comparison and comparison.recordings else None,
            comparison.same_tokens if comparison else None,
        )
        decoder = item.manifest.graph("decoder").precision
        variant = Variant(item.name, "edgewhisper", decoder, accuracy=accuracy if item.score.words else None)
        models.setdefault(item.manifest.model.name, []).append(variant)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Run(
        now,
        this_machine(),
        tuple(
            Model(
                name,
                any(x.manifest.model.random_weights for x in found if x.manifest.model.name == name),
                0,
                tuple(variants),
            )
            for name, variants in models.items()
        ),
        {"edgewhisper": __version__},
        f"eval {corpus.name}",
    )
