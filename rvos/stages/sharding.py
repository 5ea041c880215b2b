"""Division of videos among processes: each to exactly one, balanced, the same in all processes."""

from collections.abc import Sequence

from rvos.data.split import Video


def cost(video: Video) -> int:
    """What a video takes to predict, in expression-frames."""
    return len(video.frames) * max(len(video.expressions), 1)


def balance(costs: Sequence[int], parts: int) -> list[list[int]]:
    """Positions of `costs` in `parts` lists of nearly equal sums.

    Greedy: costs are taken in descending order, and each goes to the part with the smallest sum.
    Every list keeps the order of the positions.
    """
    sums: list[int] = [0] * parts
    lists: list[list[int]] = [[] for _ in range(parts)]
    for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        least = min(range(parts), key=lambda part: (sums[part], part))
        sums[least] += costs[i]
        lists[least].append(i)
    return [sorted(part) for part in lists]
