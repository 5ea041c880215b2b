"""Several processes of one run, as threads of this process."""

import threading

from rvos.stages.devices import OneDevice, Place


def in_ranks(world_size, work):
    """Call `work(devices)` in every rank at once; the results by rank."""
    ranks, results = _Ranks(world_size), [None] * world_size

    def in_rank(rank):
        results[rank] = work(RankDevices(ranks, rank))

    threads = [threading.Thread(target=in_rank, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class _Ranks:
    def __init__(self, world_size):
        self.world_size = world_size
        self.lock, self.counts, self.values = threading.Lock(), {}, [None] * world_size
        self.barrier = threading.Barrier(world_size, timeout=60)


class RankDevices(OneDevice):
    def __init__(self, ranks, rank):
        super().__init__()
        self.ranks, self.rank, self.is_first = ranks, rank, rank == 0

    def run(self, work):
        return work(RankPlace(self.ranks, self.rank))


class RankPlace(Place):
    def __init__(self, ranks, rank):
        super().__init__()
        self.ranks, self.rank, self.world_size = ranks, rank, ranks.world_size

    def _exchange(self, value):
        self.ranks.values[self.rank] = value
        self.ranks.barrier.wait()
        values = list(self.ranks.values)
        self.ranks.barrier.wait()
        return values

    def from_first(self, value):
        return self._exchange(value)[0]

    def gather(self, values):
        return [value for of_one in self._exchange(values) for value in of_one]

    def add(self, key, amount):
        with self.ranks.lock:
            self.ranks.counts[key] = self.ranks.counts.get(key, 0) + amount
            return self.ranks.counts[key]
