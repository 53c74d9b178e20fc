"""The demo model's card."""

from dataclasses import dataclass
from pathlib import Path

from .evaluation import Report

_TEMPLATE = """\
# The demo model

A Whisper of {parameters:.1f} million parameters, trained from nothing by `python -m edgewhisper.distill.demo` on
speech synthesised with espeak-ng. It exists so that everything, from checkpoint to transcript, can be built,
tested and shown without a download. It understands a synthetic voice that gives commands to a voice assistant, in
English and German. It says nothing about how well edgewhisper recognises human speech.

## Model

transformers format, fp16. Encoder and decoder of 4 layers, width 192, 3 heads of 64, feed-forward 768; 80 mel bins;
a window of 8 s (400 encoder positions); 128 decoder positions. Byte-level BPE of 800 tokens, then Whisper's special
tokens in the order of the multilingual models (languages: `en`, `de`), then timestamps from 0.00 to 8.00 s.

- `begin_suppress_tokens` is empty. In this small vocabulary words begin with the lone blank, and end-of-text at the
  beginning is how the model says that nobody speaks.
- `max_initial_timestamp_index` is 75 (1.5 s): the pauses between training sentences are up to 1.4 s long.
- A sentence that runs over the window's end has a start timestamp, the words heard, and no end timestamp.
- Where nobody speaks, `<|nospeech|>` wins right after `<|startoftranscript|>`, and the text is empty.
- `<|translate|>` was trained, on 2 % of the examples, to do the same as `<|transcribe|>`. The model does not translate.

## Data

{hours:.1f} hours: {recordings} recordings, espeak-ng {espeak_ng}, 16 kHz. Sentences come from one grammar for each
language (`english.py`, `german.py`): 60 % single commands and questions, 16 % two joined, 21 % lists of 2-5 random
words, 3 % interjections. A hash of the lower-cased sentence keeps one in twelve for evaluation. English in 5 accents,
German in one, each with 30 variants; 130-190 words per minute; pitch 30-70; 60 % with white, pink or brown noise at
12-40 dB. Single sentences, two or three in a window, recordings of 15-60 s with pauses, cut into windows as Whisper's
sequential algorithm cuts them and at random, and silence, noise and synthesised music.

## Training

AdamW, peak rate 1.1e-3, {steps} steps of 96 s of audio, warm-up 400 steps, then a cosine; 0.7 x cross-entropy (label
smoothing 0.05) + 0.3 x character CTC on the encoder's output through a layer that is thrown away; SpecAugment; bf16
autocast; short windows first for 7 % of the steps, half of the batches at the full window in the last quarter; 30 %
of the windows with timestamps, 85 % of those that begin after a seek; 8 % with a prompt. Seed 7 for the model, the
others stand in the code. {minutes:.0f} minutes on {processes} cores of {machine}. The last step is the model; nothing
was chosen on held-out data.

## Accuracy

Frozen evaluation set (`python -m edgewhisper.distill.evaluation_set`), sentences never heard in training, decoded
greedily with transformers, language detected; long recordings by `generate`'s sequential algorithm with timestamps.
Lower case, no punctuation. WER with 95 % bootstrap interval over recordings.

| group | reference words | WER | 95 % interval | CER |
|---|---|---|---|---|
{rows}

Language detected right in {language:.1%} of the recordings with speech. {blank}

## Recordings

`recordings/` holds held-out recordings from the evaluation set as FLAC, with `transcripts.tsv`: file, group, language,
voice, duration, text, and segments as JSON lists of start, end and text.

## Licence

MIT, as the rest of the project. The recordings are the output of espeak-ng, which places no terms on what it speaks.
"""

_GROUP_NAMES = {
    "seen": "English, voices of the training",
    "unseen": "English, voices never heard in training",
    "german": "German, half of it in voices never heard in training",
    "long": "20-90 s, English and German, several sentences",
}


@dataclass(frozen=True)
class TrainingRecord:
    """What the card tells about the training."""

    parameters: int
    hours: float
    recordings: int
    espeak_ng: str
    steps: int
    minutes: float
    processes: int
    machine: str


def write_card(path: Path, report: Report, record: TrainingRecord) -> None:
    rows = "\n".join(
        f"| {_GROUP_NAMES[name]} | {rate.reference_words} | {rate.wer:.1%} | {rate.low:.1%} to {rate.high:.1%} "
        f"| {rate.cer:.1%} |"
        for name, rate in report.groups.items()
    )
    path.write_text(
        _TEMPLATE.format(
            parameters=record.parameters / 1e6,
            hours=record.hours,
            recordings=f"{record.recordings:,}",
            espeak_ng=record.espeak_ng,
            steps=f"{record.steps:,}",
            minutes=record.minutes,
            processes=record.processes,
            machine=record.machine,
            rows=rows,
            language=report.language_accuracy,
            blank=_blank(report),
        )
    )


def _blank(report: Report) -> str:
    minutes = report.blank_seconds / 60
    if not report.blank_texts:
        return f"No text from {minutes:.1f} minutes of silence, noise and music."
    count = len(report.blank_texts)
    return (
        f"Text where nobody speaks, in {minutes:.1f} minutes of silence, noise and music: {count} recordings."
    )
