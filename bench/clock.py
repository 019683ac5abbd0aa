"""Seconds of several things done in turn, round by round, so that all see the same machine."""

from __future__ import annotations

import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

Series = dict[str, list[float]]


class Rounds:
    """What each thing took in each round: seconds by the clock, and CPU seconds of the processes it started.

    Work that daemons did for it is in the former only.
    """

    def __init__(self) -> None:
        self.seconds: Series = defaultdict(list)
        self.cpu: Series = defaultdict(list)

    def time(self, what: str, do: Callable[[], Any]) -> Any:
        """Do it, note what it took, and return what it returned."""
        before, began = _children(), time.monotonic()
        answer = do()
        self.seconds[what].append(time.monotonic() - began)
        self.cpu[what].append(_children() - before)
        return answer


def ratio(series: Series, ours: str, *theirs: str) -> float:
    """The middle of the rounds' ratios; several *theirs* are added up."""
    return statistics.median(own / sum(them) for own, them in _paired(series, ours, theirs))


def extra(series: Series, ours: str, *theirs: str) -> float:
    """The middle of how many seconds more it took in a round."""
    return statistics.median(own - sum(them) for own, them in _paired(series, ours, theirs))


def _paired(series: Series, ours: str, theirs: tuple[str, ...]) -> list[tuple[float, tuple[float, ...]]]:
    rounds = zip(*(series[what] for what in theirs), strict=True)
    return list(zip(series[ours], rounds, strict=True))


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
