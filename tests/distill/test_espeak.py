"""Speech comes with the time of each word."""

import numpy as np
import pytest

from edgewhisper.distill.espeak import SAMPLE_RATE, Voice, speak
from edgewhisper.errors import EdgeWhisperError

VOICE = Voice("en", "m1", 160, 50)


@pytest.mark.usefixtures("espeak")
class TestSpeak:
    def test_words_are_those_of_the_text_and_follow_each_other_to_the_end(self) -> None:
        text = "Set the kitchen lights to twenty-two percent, then call Emma."
        utterance = speak(text, VOICE)
        assert " ".join(word.text for word in utterance.words) == text
        times = [time for word in utterance.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert times[0] == pytest.approx(0.0, abs=0.05)
        assert times[-1] == utterance.duration

    def test_a_word_is_loud_where_it_is_said_to_be(self) -> None:
        utterance = speak("Banana, banana, banana.", VOICE)
        for word in utterance.words:
            heard = utterance.samples[round(word.start * SAMPLE_RATE) : round(word.end * SAMPLE_RATE)]
            assert np.abs(heard).max() > 0.3 * np.abs(utterance.samples).max()

    def test_there_is_no_silence_around_the_sentence(self) -> None:
        samples = speak("Hello.", VOICE).samples
        threshold = 0.01 * np.abs(samples).max()
        assert abs(samples[0]) > threshold
        assert abs(samples[-1]) > threshold

    def test_umlauts_are_spoken_as_such(self) -> None:
        german = Voice("de", "", 160, 50)
        assert speak("Tür", german).duration != speak("Tur", german).duration

    def test_a_faster_voice_is_shorter(self) -> None:
        text = "Turn on the radio in the kitchen."
        assert speak(text, Voice("en", "", 190, 50)).duration < speak(text, Voice("en", "", 130, 50)).duration

    def test_an_unknown_voice_is_named(self) -> None:
        with pytest.raises(EdgeWhisperError, match=r"nonesuch\+m1"):
            speak("Hello.", Voice("nonesuch", "m1", 160, 50))
