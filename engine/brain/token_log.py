"""The KV cache of one call as an append-only log of tokens that can be cut back."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_COMPARED = 256  # tokens at a time


class TokenLog(Protocol):
    """Synchronous; used from the worker's thread only.

    ``truncate`` is exact: afterwards the log equals one that never held the tokens that were cut.
    An ``append`` that raises leaves the log as it was.
    """

    @property
    def tokens(self) -> Sequence[int]:
        """The tokens held, oldest first. The caller does not change it."""

    def append(self, tokens: Sequence[int]) -> None:
        """Run the model over ``tokens`` (at least one) after those held."""

    def truncate(self, length: int) -> None:
        """Forget all but the first ``length`` tokens.

        Raises:
            ValueError: ``length`` is negative or more than is held.
        """

    def logits(self) -> NDArray[np.float32]:
        """Scores of the next token [V]. May cost one step if the log was cut since the last
        append.

        Raises:
            ValueError: the log is empty.
        """

    def close(self) -> None:
        """Free the cache."""


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading tokens are equal."""
    length = 0
    # Slices compare several times faster than a loop, and whole prompts are compared.
    while a[length : length + _COMPARED] == b[length : length + _COMPARED]:
        if length + _COMPARED >= min(len(a), len(b)):
            break
        length += _COMPARED
    for left, right in zip(a[length:], b[length:], strict=False):
        if left != right:
            break
        length += 1
    return length


def check_cut(held: int, length: int) -> None:
    """Raise ValueError unless a log of ``held`` tokens can be cut to ``length``."""
    if not 0 <= length <= held:
        raise ValueError(f"cannot cut a log of {held} tokens to {length}")
