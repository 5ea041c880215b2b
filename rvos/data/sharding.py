"""Videos shared out among processes: each to exactly one, loads balanced, the same everywhere."""

from collections.abc import Sequence

from rvos.data.mevis import Video


def cost(video: Video) -> int:
    """What a video takes to predict, in expression-frames."""
    return len(video.frames) * max(len(video.expressions), 1)


def balance(costs: Sequence[int], parts: int) -> list[list[int]]:
    """Positions of `costs` in `parts` lists of nearly equal sums: the costliest first, each to the
    part that has least. Every list keeps the order of the positions."""
    sums, lists = [0] * parts, [[] for _ in range(parts)]  # type: tuple[list[int], list[list[int]]]
    for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        least = min(range(parts), key=lambda part: (sums[part], part))
        sums[least] += costs[i]
        lists[least].append(i)
    return [sorted(part) for part in lists]
