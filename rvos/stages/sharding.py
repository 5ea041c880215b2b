"""Division of videos among jobs: each to exactly one, balanced, the same in all processes."""

from collections.abc import Sequence

from rvos.data.split import Video
from rvos.errors import SettingsError
from rvos.settings import Count, Text, Whole, checked, wrong


@checked
class Sharing:
    """The part of a split that this job does: keys `shard` and `shards`.

    `shard` is i, or "i/n" with n for `shards`: this job does the i-th of n parts (from 0). Without
    it, it does whatever is missing.
    """

    shard: Whole | Text | None = None
    shards: Count | None = None

    def __post_init__(self) -> None:
        number, slash, count = str(self.shard).partition("/")
        is_share = slash and number.isdecimal() and count.isdecimal() and int(count)
        if is_share and self.shards in (None, int(count)):
            object.__setattr__(self, "shard", int(number))
            object.__setattr__(self, "shards", int(count))
        last = self.shards - 1 if self.shards else 0
        if isinstance(self.shard, str) or (self.shards and (self.shard or 0) > last):
            raise wrong("shard", f"a whole number from 0 to {last}, i/n, or null", self.shard)
        if (self.shard is None) != (self.shards is None):
            raise SettingsError(
                [
                    "shard: expected both shard and shards, or shard=i/n, or neither; got "
                    f"shard={self.shard}, shards={self.shards}"
                ]
            )

    def part(self, videos: Sequence[Video]) -> list[Video]:
        """The videos that are this job's to do, in their order."""
        if self.shards is None or not isinstance(self.shard, int):
            return list(videos)
        mine = balance([cost(video) for video in videos], self.shards)[self.shard]
        return [videos[i] for i in mine]


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
