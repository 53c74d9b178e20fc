"""The gate of the text: what converted graphs write, beside what fp32 writes and what was said."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.artifact import TOKENS, GraphInfo, Manifest
from edgewhisper.bench.corpora.utterance import Utterance
from edgewhisper.errors import MissingDependencyError
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import Encoder
from edgewhisper.runtime.features import LogMelStream
from edgewhisper.runtime.options import DecodingOptions
from edgewhisper.runtime.session import SessionSettings
from edgewhisper.runtime.transcription import Model, Transcription
from edgewhisper.runtime.vocabulary import read_vocabulary

from .source import Source

# Greedy only: what is drawn at higher temperatures differs by chance.
_GREEDY = DecodingOptions(temperature=0.0)


@dataclass(frozen=True)
class Hypothesis:
    """What a model wrote for one recording; tokens by their bytes, as ids change where the vocabulary is pruned."""

    text: str
    tokens: tuple[bytes, ...]


@dataclass(frozen=True)
class TextScore:
    """Error rates of one model; 0.02 is 2 %.

    Attributes:
        wer, cer: word and character error rate over all recordings with speech.
        low, high: the word error rate's 95 % interval over recordings.
    """

    wer: float
    low: float
    high: float
    cer: float


@dataclass(frozen=True)
class TextReport:
    """The outcome of the comparison.

    Attributes:
        recordings: how many were transcribed.
        words: how many are said in them.
        fp32: how the fp32 graphs score.
        converted: how the converted ones do.
        same_tokens: share of fp32's tokens that the converted graphs write too, in order.
    """

    recordings: int
    words: int
    fp32: TextScore
    converted: TextScore
    same_tokens: float


def require_scoring() -> None:
    """Raises MissingDependencyError where the package that scores text is not installed."""
    try:
        import jiwer  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            "the gate of the text needs jiwer; run 'pip install edgewhisper[eval]', or use --gate layers"
        ) from None


def write_all(
    folder: Path,
    manifest: Manifest,
    source: Source,
    recordings: Sequence[Utterance],
    progress: Callable[[float], None],
) -> list[Hypothesis]:
    """Transcribe the recordings with the graphs in `folder`, greedily, the language left to the model."""
    model = Model(
        decoder=Decoder(folder, manifest, SessionSettings()),
        encoder=Encoder(folder, manifest, SessionSettings()),
        vocabulary=read_vocabulary(source.folder / TOKENS, source.tokens.end_of_text),
        dimensions=source.dimensions,
        tokens=source.tokens,
        audio=source.audio,
    )
    hypotheses = []
    for done, recording in enumerate(recordings, 1):
        with recording.open(source.audio.sample_rate) as audio:
            segments = list(Transcription(model, LogMelStream(audio, source.audio), _GREEDY).segments())
        tokens = tuple(
            model.vocabulary.token_bytes(token) for segment in segments for token in segment.tokens
        )
        hypotheses.append(Hypothesis("".join(segment.text for segment in segments), tokens))
        progress(done / len(recordings))
    return hypotheses


def compare_text(
    source: Source,
    graphs: Mapping[str, GraphInfo],
    folder: Path,
    recordings: Sequence[Utterance],
    fp32: Sequence[Hypothesis],
    progress: Callable[[float], None],
) -> TextReport:
    """Transcribe with the converted graphs and compare.

    Args:
        source: the fp32 graphs.
        graphs: the converted ones, in `folder`.
        folder: where they are.
        recordings: what was said.
        fp32: what the fp32 graphs wrote, from `write_all`.
        progress: told how much is done, from 0 to 1.
    """
    converted = write_all(folder, source.manifest(graphs), source, recordings, progress)
    words, fp32_score = _score(recordings, fp32)
    _, converted_score = _score(recordings, converted)
    return TextReport(len(recordings), words, fp32_score, converted_score, same_tokens(fp32, converted))


def same_tokens(references: Sequence[Hypothesis], hypotheses: Sequence[Hypothesis]) -> float:
    """The share of the references' tokens that are written in the same order; 1 where they have none."""
    import jiwer

    kept = total = 0
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        total += len(reference.tokens)
        if reference.tokens:
            words = (" ".join(token.hex() for token in x.tokens) for x in (reference, hypothesis))
            kept += jiwer.process_words(*words).hits
    return kept / total if total else 1.0


def _score(recordings: Sequence[Utterance], hypotheses: Sequence[Hypothesis]) -> tuple[int, TextScore]:
    from edgewhisper.bench.scoring import error_rate, normalise

    pairs = [
        (spoken.text, hypothesis.text)
        for spoken, hypothesis in zip(recordings, hypotheses, strict=True)
        if spoken.text is not None and normalise(spoken.text)
    ]
    rate = error_rate([reference for reference, _ in pairs], [text for _, text in pairs])
    return rate.reference_words, TextScore(rate.wer, rate.low, rate.high, rate.cer)
