"""What speculative decoding gains at a given acceptance rate: `python -m edgewhisper.bench.speculation ARTIFACT`.

Random weights cannot be predicted, so acceptance is imposed: the draft does all its work, then each of its tokens is replaced by the main model's
with the given probability, and by another one otherwise. Costs are those of the real draft, the text that of plain decoding.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgewhisper.artifact import Manifest, load_manifest
from edgewhisper.errors import EdgeWhisperError, UsageError
from edgewhisper.runtime.contention import Timing, timed
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.decoding import DecodingLoop
from edgewhisper.runtime.draft_loader import DraftLoader
from edgewhisper.runtime.encoder import CrossKV, Encoder
from edgewhisper.runtime.exactness import single_rows_are_exact
from edgewhisper.runtime.options import DecodingOptions, SpeculationStatistics, Statistics
from edgewhisper.runtime.prompt import start_sequence
from edgewhisper.runtime.protocols import Floats
from edgewhisper.runtime.rules import rules_for
from edgewhisper.runtime.session import SessionSettings
from edgewhisper.runtime.speculation.controller import AdaptiveLength
from edgewhisper.runtime.speculation.drafter import Drafter, Patience
from edgewhisper.runtime.speculation.model import ModelDrafter
from edgewhisper.runtime.speculation.speculation import Speculation
from edgewhisper.runtime.state import DeviceState

SEED = 4
ATTEMPTS = 5
PAUSE = 0.1  # seconds, for threads of the run before to fall asleep


class ImposedAcceptance:
    """A drafter whose tokens are right with a given probability, whatever it would have said."""

    def __init__(self, drafter: Drafter, text: Sequence[int], end_of_text: int, acceptance: float) -> None:
        """Take the drafter that does the work, and the text that the main model will say."""
        self._drafter = drafter
        self._right = (*text, end_of_text)
        self._end_of_text = end_of_text
        self._acceptance = acceptance
        self._windows = 0
        self._random = np.random.default_rng(SEED)

    def begin(self, cross: CrossKV, prompt: Sequence[int]) -> None:
        """A window begins, with a luck of its own, the same in every run."""
        self._random = np.random.default_rng((SEED, self._windows))
        self._windows += 1
        self._drafter.begin(cross, prompt)

    def propose(
        self, sampled: Sequence[int], count: int, patience: Patience, hidden: Floats | None
    ) -> Sequence[int]:
        """As many tokens as the draft says, right or wrong by chance."""
        drafted = self._drafter.propose(sampled, count, _Impose(patience, self._acceptance), hidden)
        proposed = []
        for place in range(len(sampled), len(sampled) + len(drafted)):
            right = self._right[place] if place < len(self._right) else self._end_of_text
            proposed.append(
                right if self._random.random() < self._acceptance else (right + 1) % self._end_of_text
            )
        if isinstance(self._drafter, ModelDrafter):
            self._drafter.amend(proposed)
        return proposed

    def end(self) -> None:
        """The window is decoded."""
        self._drafter.end()


class _Impose:
    """Patience by the imposed acceptance, as the draft's own certainty says nothing about it."""

    def __init__(self, patience: Patience, acceptance: float) -> None:
        self._patience, self._acceptance = patience, acceptance

    def goes_on(self, drafted: int, probability: float) -> bool:
        """Whether to draft one more."""
        return self._patience.goes_on(drafted, self._acceptance**drafted)


@dataclass(frozen=True)
class Gain:
    """What was measured at one acceptance rate; times are medians of a decoded window in seconds."""

    acceptance: float
    greedy: float
    speculative: float
    proposed: int
    accepted: int
    verifications: int
    disturbed: int  # timings of both kinds that others disturbed in every attempt
    guessed: int  # windows decoded with guesses
    changed: int  # of them, those whose text was not the greedy one, which no processor may have

    @property
    def speedup(self) -> float:
        """Greedy over speculative."""
        return self.greedy / self.speculative

    @property
    def same_text(self) -> float:
        """The share of windows decoded with guesses that have the text of greedy decoding."""
        return 1 - self.changed / self.guessed


class SpeculationBench:
    """One artifact with a draft, and a window of noise encoded."""

    def __init__(self, artifact: Path, threads: int, provider: str = "cpu") -> None:
        """Load; raises EdgeWhisperError where the artifact has no draft or cannot be loaded."""
        self._manifest: Manifest = load_manifest(artifact)
        settings, state = SessionSettings(provider, threads), DeviceState(None)
        self._provider = provider
        self._decoder = Decoder(artifact, self._manifest, settings)
        self._decoder.repeat_single_rows = not single_rows_are_exact(
            self._decoder, self._manifest, settings, state
        )
        draft = DraftLoader(artifact, self._manifest, settings, self._decoder, state)(True)
        if draft is None:
            raise UsageError(f"{artifact}: has no draft; build it with --draft")
        self._draft = draft
        self.costs = draft.costs
        audio = self._manifest.audio
        noise = np.random.default_rng(SEED).normal(size=(audio.n_mels, audio.n_frames)).astype(np.float32)
        self._cross = Encoder(artifact, self._manifest, settings).run(noise)
        self._options = DecodingOptions(
            timestamps=False, language="en" if self._manifest.tokens.languages else None
        )

    def run(self, acceptance: float, tokens: int, rounds: int) -> Gain:
        """Decode a window greedily and speculatively in turn; on processors the texts must be the same."""
        text, _, _ = self._decode(None, tokens)
        end_of_text = self._manifest.tokens.end_of_text
        drafter = ImposedAcceptance(self._draft.drafter(), text, end_of_text, acceptance)
        greedy: list[float] = []
        speculative: list[float] = []
        disturbed, guessed, changed, counted = 0, 0, 0, SpeculationStatistics()
        for turn in range(rounds + 1):
            for times, used in ((greedy, None), (speculative, drafter)):
                attempts: list[Timing] = []
                while len(attempts) < ATTEMPTS and not (attempts and attempts[-1].counts):
                    time.sleep(PAUSE)
                    found, timing, statistics_found = self._decode(used, tokens)
                    attempts.append(timing)
                    guessed += used is not None
                    changed += used is not None and found != text
                    if found != text and self._provider == "cpu":
                        raise EdgeWhisperError("the text changed under speculation; please report it")
                best = min(attempts, key=lambda timing: timing.disturbance)
                if turn:  # the first time warms up
                    times.append(best.seconds)
                    disturbed += not best.counts
                if used is not None:
                    counted.proposed += statistics_found.proposed
                    counted.accepted += statistics_found.accepted
                    counted.verifications += statistics_found.verifications
        return Gain(
            acceptance, statistics.median(greedy), statistics.median(speculative),
            counted.proposed, counted.accepted, counted.verifications, disturbed, guessed, changed,
        )  # fmt: skip

    def _decode(
        self, drafter: Drafter | None, tokens: int
    ) -> tuple[tuple[int, ...], Timing, SpeculationStatistics]:
        manifest, found = self._manifest, Statistics()
        speculation = None
        if drafter is not None:
            speculation = Speculation(drafter, AdaptiveLength(self.costs), found.speculation)
        loop = DecodingLoop(
            self._decoder, manifest.tokens, rules_for(self._options, manifest.tokens, manifest.audio),
            max_tokens=tokens, statistics=found, started=time.perf_counter(), speculation=speculation,
        )  # fmt: skip
        prompt = start_sequence(self._options, manifest.tokens, "en")
        prefilled = loop.prefill(self._cross, prompt)
        with timed() as timing:
            decoded = loop.run(prefilled, 0.0)
        return decoded.tokens, timing, found.speculation


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m edgewhisper.bench.speculation", description=__doc__)
    parser.add_argument("artifact", type=Path, help="with a draft: edgewhisper build ... --draft shared:1")
    parser.add_argument("--acceptance", default="0,0.5,0.75,0.85", help="rates; default: %(default)s")
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--provider", default="cpu", help="cpu or cuda")
    arguments = parser.parse_args()
    try:
        print(_table(arguments))
    except EdgeWhisperError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _table(arguments: argparse.Namespace) -> str:
    from tabulate import tabulate

    try:
        rates = [float(rate) for rate in arguments.acceptance.split(",")]
    except ValueError:
        raise UsageError(f"--acceptance {arguments.acceptance}: give rates such as 0.5,0.75") from None
    bench = SpeculationBench(arguments.artifact, arguments.threads, arguments.provider)
    gains = [bench.run(rate, arguments.tokens, arguments.rounds) for rate in rates]
    rows = [
        (
            gain.acceptance,
            1e3 * gain.greedy / arguments.tokens,
            1e3 * gain.speculative / arguments.tokens,
            gain.speedup,
            gain.accepted / gain.proposed if gain.proposed else 0.0,
            (gain.accepted + gain.verifications) / gain.verifications if gain.verifications else 1.0,
            gain.disturbed,
            gain.changed,
        )
        for gain in gains
    ]
    headers = (
        "imposed",
        "greedy ms/token",
        "ms/token",
        "speed-up",
        "accepted/proposed",
        "tokens/verification",
        "disturbed",
        "texts changed",
    )
    costs = ", ".join(f"{cost:.2f}" for cost in bench.costs.rows)
    return (
        f"steps of 1..9 rows: {costs}; a drafted token: {bench.costs.first:.2f}, a further one: {bench.costs.further:.2f}\n"
        + tabulate(rows, headers, floatfmt=("g", ".2f", ".2f", ".2f", ".2f", ".2f", "g", "g"))
    )


if __name__ == "__main__":
    sys.exit(_main())
