"""Whether two runs agree on how engines compare: the ratios to a model's first variant, which the machine's own speed does not change."""

from collections.abc import Iterator
from dataclasses import dataclass

from .run import Run, Variant

QUANTITIES = ("window", "encoder", "token")


@dataclass(frozen=True)
class Ratio:
    """A variant's time over the first variant's, in both runs.

    Attributes:
        model, variant: their names.
        quantity: one of `QUANTITIES`.
        old, new: the ratio in each run.
    """

    model: str
    variant: str
    quantity: str
    old: float
    new: float

    @property
    def apart(self) -> float:
        """How far the larger is above the smaller; 0.1 is 10 %."""
        return max(self.old, self.new) / min(self.old, self.new) - 1


def ratios(old: Run, new: Run) -> tuple[Ratio, ...]:
    """Of all variants that both runs have, where the first variant, which has no ratio, is the same in both."""
    return tuple(_ratios(old, new))


def _ratios(old: Run, new: Run) -> Iterator[Ratio]:
    before = {model.name: model for model in old.models if model.variants}
    for model in new.models:
        other = before.get(model.name)
        if other is None or not model.variants or model.variants[0].name != other.variants[0].name:
            continue
        of_old = {variant.name: variant for variant in other.variants[1:]}
        for variant in model.variants[1:]:
            for quantity in QUANTITIES if variant.name in of_old else ():
                first = ratio(of_old[variant.name], other.variants[0], quantity)
                second = ratio(variant, model.variants[0], quantity)
                if first and second:
                    yield Ratio(model.name, variant.name, quantity, first, second)


def ratio(variant: Variant, first: Variant, quantity: str) -> float | None:
    """Time over the first variant's: round by round, else, as with another number of threads, of medians; None where there is none."""
    if quantity in variant.ratios and variant.threads == first.threads:
        return variant.ratios[quantity].median
    own, other = (getattr(each, f"{quantity}_ms") for each in (variant, first))
    return None if own is None or other is None or not other.median else float(own.median / other.median)


def format_agreement(found: tuple[Ratio, ...], tolerance: float) -> str:
    """A line that says how many agree and which is worst; empty where there are none."""
    if not found:
        return ""
    parts = []
    for quantity in QUANTITIES:
        of_quantity = [each for each in found if each.quantity == quantity]
        if of_quantity:
            parts.append(f"{quantity} {sum(x.apart <= tolerance for x in of_quantity)} of {len(of_quantity)}")
    worst = max(found, key=lambda each: each.apart)
    name = " ".join(f"{worst.model}, {worst.variant}, {worst.quantity}".split())
    return (
        f"ratios to the first variant that agree within {tolerance:.0%}: {', '.join(parts)}; "
        f"worst: {name} ({worst.old:.2f}, then {worst.new:.2f}, {worst.apart:.0%})"
    )
