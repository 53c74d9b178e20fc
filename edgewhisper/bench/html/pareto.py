"""Which choices are not beaten."""

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, ...]]) -> tuple[int, ...]:
    """Indices of the points that no other equals or undercuts in every coordinate and undercuts in one, in ascending order.

    Equal points stay together. A point that another dominates comes after it in lexicographic order, and so is compared with the front only.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda each: points[each]):
        if not any(_dominates(points[other], points[index]) for other in front):
            front.append(index)
    return tuple(sorted(front))


def _dominates(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))
