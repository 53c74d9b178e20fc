"""Scores a model on the frozen evaluation set."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from transformers import WhisperForConditionalGeneration, WhisperTokenizer

from edgewhisper.bench.scoring import ErrorRate, error_rate

from .recognition import Hypothesis, transcribe
from .transcripts import Transcript, read_recording, read_table


@dataclass(frozen=True)
class Report:
    """How well a model does."""

    groups: dict[str, ErrorRate]
    """Error rates of each group of recordings with speech."""

    language_accuracy: float
    """Share of recordings with speech whose language was detected right."""

    blank_seconds: float
    """Duration of all recordings without speech."""

    blank_texts: tuple[str, ...]
    """What the model wrote where nobody speaks; empty when all is well."""


@dataclass(frozen=True)
class _Outcome:
    transcript: Transcript
    hypothesis: Hypothesis


def evaluate(model_directory: Path, evaluation_directory: Path) -> Report:
    """Transcribes the whole evaluation set with transformers, weights in fp32."""
    model = WhisperForConditionalGeneration.from_pretrained(model_directory).float().eval()
    tokenizer = WhisperTokenizer.from_pretrained(model_directory)
    transcripts = read_table(evaluation_directory)
    samples = [read_recording(evaluation_directory, transcript) for transcript in transcripts]
    hypotheses = transcribe(model, tokenizer, samples)
    return _report([_Outcome(*pair) for pair in zip(transcripts, hypotheses, strict=True)])


def write_report(report: Report, path: Path) -> None:
    path.write_text(json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n")


def read_report(path: Path) -> Report:
    record = json.loads(path.read_text())
    groups = {name: ErrorRate(**rate) for name, rate in record["groups"].items()}
    return Report(groups, record["language_accuracy"], record["blank_seconds"], tuple(record["blank_texts"]))


def _report(outcomes: Sequence[_Outcome]) -> Report:
    spoken = [outcome for outcome in outcomes if outcome.transcript.text]
    blank = [outcome for outcome in outcomes if not outcome.transcript.text]
    groups: dict[str, list[_Outcome]] = {}
    for outcome in spoken:
        groups.setdefault(outcome.transcript.group, []).append(outcome)
    right = sum(outcome.transcript.language == outcome.hypothesis.language for outcome in spoken)
    return Report(
        groups={name: _rate(members) for name, members in groups.items()},
        language_accuracy=right / len(spoken),
        blank_seconds=sum(outcome.transcript.duration for outcome in blank),
        blank_texts=tuple(outcome.hypothesis.text for outcome in blank if outcome.hypothesis.text),
    )


def _rate(outcomes: Sequence[_Outcome]) -> ErrorRate:
    return error_rate([o.transcript.text for o in outcomes], [o.hypothesis.text for o in outcomes])
