"""Error rates agree with jiwer and with counting by hand."""

import jiwer
import pytest

from edgewhisper.bench.scoring import error_rate, normalise

REFERENCES = ["Turn on the light.", "Öffne die Tür!", "What is twenty-two plus two?"]
HYPOTHESES = ["turn on light", "öffne die Tür", "what is twenty two plus ten too"]


def test_normalisation_drops_case_and_punctuation_and_keeps_umlauts_and_apostrophes() -> None:
    assert normalise("  At ten o'clock, Öffne  DIE Tür!") == "at ten o'clock öffne die tür"
    assert normalise("twenty-two") == "twenty two"
    assert normalise("Tu\u0308r") == "tür"


def test_errors_are_counted_over_all_words() -> None:
    rate = error_rate(REFERENCES, HYPOTHESES)
    assert rate.reference_words == 13
    assert rate.wer == pytest.approx(3 / 13)


def test_rates_are_jiwers_over_the_whole_set() -> None:
    rate = error_rate(REFERENCES, HYPOTHESES)
    normalised = [normalise(text) for text in REFERENCES], [normalise(text) for text in HYPOTHESES]
    assert rate.wer == pytest.approx(jiwer.wer(*normalised))
    assert rate.cer == pytest.approx(jiwer.cer(*normalised))


def test_the_interval_encloses_the_rate_and_narrows_with_more_recordings() -> None:
    few, many = error_rate(REFERENCES * 5, HYPOTHESES * 5), error_rate(REFERENCES * 80, HYPOTHESES * 80)
    assert few.low < few.wer < few.high
    assert many.high - many.low < (few.high - few.low) / 2


def test_perfect_text_has_no_errors() -> None:
    rate = error_rate(REFERENCES, REFERENCES)
    assert (rate.wer, rate.low, rate.high, rate.cer) == (0.0, 0.0, 0.0, 0.0)
