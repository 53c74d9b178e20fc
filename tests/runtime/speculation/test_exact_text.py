"""Whatever a draft says, the text is that of single steps."""

import itertools
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.runtime.decoding import Decoded, DecodingLoop
from edgewhisper.runtime.options import DecodingOptions, SpeculationStatistics, Statistics
from edgewhisper.runtime.protocols import CrossKV
from edgewhisper.runtime.rules import rules_for
from edgewhisper.runtime.speculation.controller import FixedLength
from edgewhisper.runtime.speculation.drafter import Drafter, Patience
from edgewhisper.runtime.speculation.lookup import LookupDrafter, TokenMap
from edgewhisper.runtime.speculation.speculation import Speculation
from tests.scripted import (
    AUDIO,
    BEGIN,
    END,
    ENGLISH,
    NO_TIMESTAMPS,
    START,
    TOKENS,
    TRANSCRIBE,
    VOCAB_SIZE,
    Floats,
    Script,
    ScriptedDecoder,
    after_prompt,
    hidden_state,
    row,
    sure,
)


@dataclass
class RandomDrafter:
    """Says what single steps will say with some probability, and else anything, end of text and timestamps too."""

    right: Sequence[int]
    share: float
    seed: int
    proposals: list[tuple[int, ...]] = field(default_factory=list)

    def begin(self, cross: CrossKV, prompt: Sequence[int]) -> None:
        self._random = np.random.default_rng(self.seed)
        self._prompt = prompt

    def propose(
        self, sampled: Sequence[int], count: int, patience: Patience, hidden: Floats | None
    ) -> Sequence[int]:
        # The last token was chosen by what the decoder made of those before it.
        np.testing.assert_array_equal(hidden, hidden_state([*self._prompt, *sampled[:-1]]))
        known = [*self.right, END][len(sampled) : len(sampled) + count]
        guesses = self._random.integers(0, VOCAB_SIZE, count).tolist()
        known += guesses[len(known) :]
        told = [a if self._random.random() < self.share else b for a, b in zip(known, guesses, strict=True)]
        self.proposals.append(tuple(told))
        return told

    def end(self) -> None:
        pass


def random_script(seed: int) -> Script:
    """Logits that depend on every token before."""

    def script(cross: object, prefix: tuple[int, ...]) -> Floats:
        logits = np.random.default_rng([seed, *prefix]).normal(0, 3, VOCAB_SIZE).astype(np.float32)
        logits[BEGIN:] -= 5
        logits[END] += 5
        return logits

    return script


def loop_of(
    decoder: ScriptedDecoder, statistics: Statistics, speculation: Speculation | None, *, timestamps: bool,
    max_tokens: int | None = None,
) -> DecodingLoop:  # fmt: skip
    rules = rules_for(DecodingOptions(timestamps=timestamps), TOKENS, AUDIO)
    return DecodingLoop(
        decoder, TOKENS, rules, max_tokens=max_tokens, statistics=statistics, started=time.perf_counter(),
        speculation=speculation,
    )  # fmt: skip


def decode(
    script: Script, *, timestamps: bool, temperature: float, drafter: Drafter | None = None, proposals: int = 4,
    max_length: int = 40, max_tokens: int | None = None,
) -> tuple[Decoded, ScriptedDecoder, SpeculationStatistics]:  # fmt: skip
    decoder = ScriptedDecoder(script, max_length)
    statistics = Statistics()
    speculation = None
    if drafter is not None:
        speculation = Speculation(drafter, FixedLength(proposals), statistics.speculation)
    loop = loop_of(decoder, statistics, speculation, timestamps=timestamps, max_tokens=max_tokens)
    prompt = (START, ENGLISH, TRANSCRIBE) if timestamps else (START, ENGLISH, TRANSCRIBE, NO_TIMESTAMPS)
    decoded = loop.run(loop.prefill(None, prompt), temperature, np.random.default_rng(3))
    return decoded, decoder, statistics.speculation


@given(
    seed=st.integers(0, 2**32), timestamps=st.booleans(), temperature=st.sampled_from([0.0, 0.0, 0.4, 1.0]),
    proposals=st.integers(1, 16), share=st.floats(0, 1), max_length=st.integers(5, 40),
    max_tokens=st.none() | st.integers(1, 40),
)  # fmt: skip
def test_tokens_and_probabilities_are_those_of_single_steps(
    seed: int, timestamps: bool, temperature: float, proposals: int, share: float, max_length: int,
    max_tokens: int | None,
) -> None:  # fmt: skip
    script = random_script(seed)
    limits = {"max_length": max_length, "max_tokens": max_tokens}
    single, _, _ = decode(script, timestamps=timestamps, temperature=temperature, **limits)  # type: ignore[arg-type]
    drafter = RandomDrafter(single.tokens, share, seed)
    together, decoder, statistics = decode(
        script,
        timestamps=timestamps,
        temperature=temperature,
        drafter=drafter,
        proposals=proposals,
        **limits,  # type: ignore[arg-type]
    )
    assert together == single
    assert decoder.length <= max_length
    assert statistics.accepted <= statistics.proposed
    assert statistics.proposed == sum(map(len, drafter.proposals))


def reciting(*words: int) -> Script:
    """The words, then end of text however the rows go on."""
    script = (*words, END)
    return lambda cross, prefix: sure(script[min(len(after_prompt(prefix)), len(words))])


@given(words=st.lists(st.integers(10, 14), min_size=1, max_size=30), proposals=st.integers(1, 16))
def test_what_was_said_before_is_proposed_again(words: list[int], proposals: int) -> None:
    drafter = LookupDrafter(TokenMap([words]))
    plain, _, _ = decode(reciting(*words), timestamps=False, temperature=0.0)
    found, decoder, statistics = decode(
        reciting(*words), timestamps=False, temperature=0.0, drafter=drafter, proposals=proposals
    )
    assert found == plain
    # Every step gives a token of its own beside those that were accepted; end of text is one too.
    assert statistics.accepted + len(decoder.calls) == len(words) + 1
    assert statistics.accepted > 0 or len(words) != len(set(words)) or len(words) < 3


def test_right_proposals_save_steps() -> None:
    words = tuple(range(10, 30))
    _, decoder, statistics = decode(
        reciting(*words), timestamps=False, temperature=0.0, drafter=RandomDrafter(words, 1.0, 0), proposals=4
    )
    assert [len(call) for call in decoder.calls[1:]] == [5] * 4  # the prompt gives the first of 21 tokens
    assert (statistics.proposed, statistics.accepted) == (16, 16)


def test_a_draft_of_nothing_decodes_single_steps() -> None:
    class Silent:
        def begin(self, cross: CrossKV, prompt: Sequence[int]) -> None: ...
        def propose(
            self, sampled: Sequence[int], count: int, patience: Patience, hidden: Floats | None
        ) -> Sequence[int]:
            return ()

        def end(self) -> None: ...

    _, decoder, statistics = decode(reciting(1, 2, 3), timestamps=False, temperature=0.0, drafter=Silent())
    assert [len(call) for call in decoder.calls[1:]] == [1, 1, 1]
    assert (statistics.verifications, statistics.proposed) == (0, 0)


def test_at_temperatures_over_0_texts_come_as_often_as_they_should() -> None:
    """20,000 drawn texts of three tokens against their exact probabilities, with a draft that is often wrong."""
    draws, temperature, words = 20_000, 0.7, (10, 11, 12)

    def script(cross: object, prefix: tuple[int, ...]) -> Floats:
        said = after_prompt(prefix)
        if len(said) == 3:
            return sure(END)
        favoured = words[(sum(said) + len(said)) % 3]
        return row(*((word, 40.0 + 1.3 * (word == favoured) + 0.4 * (word == 12)) for word in words))

    expected: dict[tuple[int, ...], float] = {}
    for text in itertools.product(words, repeat=3):
        chance = 1.0
        for place in range(3):
            logits = script(None, (START, *text[:place]))[list(words)].astype(np.float64) / temperature
            weights = np.exp(logits - logits.max())
            chance *= float(weights[words.index(text[place])] / weights.sum())
        expected[text] = chance
    assert sum(expected.values()) == pytest.approx(1)

    decoder, statistics = ScriptedDecoder(script), Statistics()
    drafter = RandomDrafter((10, 11, 12), 0.7, 1)
    speculation = Speculation(drafter, FixedLength(3), statistics.speculation)
    loop = loop_of(decoder, statistics, speculation, timestamps=False)
    prefilled = loop.prefill(None, (START, ENGLISH, TRANSCRIBE, NO_TIMESTAMPS))
    generator, found = np.random.default_rng(8), Counter[tuple[int, ...]]()
    for draw in range(draws):
        drafter.seed = draw
        found[loop.run(prefilled, temperature, generator).tokens] += 1
    distance = sum(abs(found[text] / draws - chance) for text, chance in expected.items()) / 2
    distance += sum(count for text, count in found.items() if text not in expected) / draws / 2
    # What direct draws would have: half the sum of the mean deviations of binomial shares, and three times their spread.
    deviations = [math.sqrt(chance * (1 - chance) / draws) for chance in expected.values()]
    mean = sum(deviations) / math.sqrt(2 * math.pi)
    spread = math.sqrt(sum(x * x for x in deviations) * (1 - 2 / math.pi)) / 2
    assert distance < mean + 3 * spread
    assert 0 < statistics.speculation.accepted < statistics.speculation.proposed
