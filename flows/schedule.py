"""In which order stages run, and how long all of them take."""

import heapq
from collections.abc import Collection, Mapping


class Schedule:
    """Which stages may start, the ones with the longest way to the end first.

    Args:
        after: for each stage the stages it waits for; those that are not keys are done already.
        seconds: how long stages are expected to take; equal where unknown.
    """

    def __init__(
        self, after: Mapping[str, Collection[str]], seconds: Mapping[str, float] | None = None
    ) -> None:
        self._waits = {name: {n for n in needed if n in after} for name, needed in after.items()}
        self._unblocks: dict[str, list[str]] = {name: [] for name in after}
        for name, needed in self._waits.items():
            for other in needed:
                self._unblocks[other].append(name)
        self._rank = self._ways_to_the_end(seconds or {})
        self._ready = [self._entry(name) for name, needed in self._waits.items() if not needed]
        heapq.heapify(self._ready)

    def _ways_to_the_end(self, seconds: Mapping[str, float]) -> dict[str, float]:
        """Length of the longest path from each stage to an end of the graph."""
        left = {name: len(following) for name, following in self._unblocks.items()}
        ends = [name for name, following in left.items() if not following]
        way: dict[str, float] = {}
        while ends:
            name = ends.pop()
            way[name] = seconds.get(name, 1.0) + max(
                (way[following] for following in self._unblocks[name]), default=0.0
            )
            for needed in self._waits[name]:
                left[needed] -= 1
                if not left[needed]:
                    ends.append(needed)
        return way

    def _entry(self, name: str) -> tuple[float, str]:
        return -self._rank[name], name

    def next(self) -> str | None:
        """A stage that can start now; None while there is none."""
        return heapq.heappop(self._ready)[1] if self._ready else None

    def done(self, name: str) -> None:
        for following in self._unblocks[name]:
            self._waits[following].discard(name)
            if not self._waits[following]:
                heapq.heappush(self._ready, self._entry(following))

    def failed(self, name: str) -> list[str]:
        """Give up everything that waits for a stage, directly or not; returns it."""
        given_up: list[str] = []
        queue = [name]
        while queue:
            for following in self._unblocks[queue.pop()]:
                if following not in given_up:
                    given_up.append(following)
                    queue.append(following)
        return given_up


def makespan(
    after: Mapping[str, Collection[str]], seconds: Mapping[str, float], jobs: int
) -> float:
    """Seconds until all stages are done with at most `jobs` running at once."""
    schedule = Schedule(after, seconds)
    running: list[tuple[float, str]] = []
    now = 0.0
    while True:
        while len(running) < jobs and (name := schedule.next()) is not None:
            heapq.heappush(running, (now + seconds[name], name))
        if not running:
            return now
        now, name = heapq.heappop(running)
        schedule.done(name)
