"""Chooses what the next step runs. Pure, so that the bound on waiting can be tested.

A step takes one token of every row that decodes and fills what is left of its budget with pieces
of prompts (chunked prefill: Agrawal et al. 2024, "Sarathi-Serve", section 4). So a row that
decodes waits for at most one step of ``prefill_beside_decode`` prompt tokens. While no row
decodes, a step takes ``prefill_alone``.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes of a step. ``prefill_beside_decode`` bounds how long a decoding row can wait."""

    rows: int = 32
    prefill_alone: int = 512
    prefill_beside_decode: int = 128


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sequence that may take part in the next step.

    It has ``pending`` ids to run. ``decodes``: that is one token, whose successor is wanted. The
    lower ``rank`` (priority, order of arrival) goes first. ``served`` is the number of its last
    turn to decode, counted over all rows: of equal priority the row that has waited longest goes
    first, so that more rows than a step holds share the steps.
    """

    pending: int
    decodes: bool
    rank: tuple[int, int]
    served: int = 0


def plan(candidates: Sequence[Candidate], limits: Limits) -> dict[int, int]:
    """How many of its pending ids each sequence runs in the next step, by its index."""
    order = sorted(range(len(candidates)), key=lambda index: candidates[index].rank)
    waiting = [index for index in order if candidates[index].decodes]
    waiting.sort(key=lambda index: (candidates[index].rank[0], candidates[index].served))
    decoding = waiting[: limits.rows]
    left = limits.prefill_beside_decode if decoding else limits.prefill_alone
    taken = dict.fromkeys(decoding, 1)
    for index in order:
        if left and not candidates[index].decodes and candidates[index].pending:
            taken[index] = min(left, candidates[index].pending)
            left -= taken[index]
    return taken
