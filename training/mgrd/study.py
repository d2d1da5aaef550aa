"""All runs that the claims need, the cheapest answer first: claim by claim, seed by seed."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from training.mgrd.config import Scale, Wish
from training.mgrd.report import write_report
from training.mgrd.stages import Run, Tasks, Workshop

logger = logging.getLogger(__name__)

Wishes = Iterator[tuple[Wish, Tasks]]


def study(workshop: Workshop, seeds: Sequence[int], claims: Iterable[str]) -> None:
    """Run them; the report is written again after each claim's. Runs that fail stop the study:
    what was done is kept, and the next call goes on from there."""
    for claim in claims:
        for seed in seeds:
            if claim == "C5":
                Run(workshop, Wish(workshop.scale, seed)).cognition()
                continue
            for wish, tasks in _WISHES[claim](workshop.scale, seed):
                Run(workshop, wish, tasks).recipe()
        logger.info("%s is run; %s", claim, write_report(workshop.out))


def _rewards(scale: Scale, seed: int) -> Wishes:
    yield Wish(scale, seed, rounds=0), "sounds"
    yield Wish(scale, seed, reward="correct", rounds=0), "sounds"


def _selections(scale: Scale, seed: int) -> Wishes:
    yield Wish(scale, seed, rounds=0), "sounds"
    yield Wish(scale, seed, select="0", rounds=0), "sounds"
    yield Wish(scale, seed, select="all", rounds=0), "sounds"


def _thoughts(scale: Scale, seed: int) -> Wishes:
    # Of two choices a guess is often right, so that selection would pick guesses.
    yield Wish(scale, seed, select="all", rounds=0), "claims"
    yield Wish(scale, seed, select="all", thoughts="surrogate", rounds=0), "claims"


def _rounds(scale: Scale, seed: int) -> Wishes:
    yield Wish(scale, seed, rounds=2), "sounds"


_WISHES: dict[str, Callable[[Scale, int], Wishes]] = {
    "C1": _rewards,
    "C2": _selections,
    "C3": _thoughts,
    "C4": _rounds,
}
