"""What several rows of a decode batch have in common."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """Groups of sequences whose first keys are the same blocks of the cache.

    Attributes:
        members: [G, R] int32, sequence numbers of the batch; -1 fills a short group. A sequence is
            in one group at most.
        lengths: [G] int32, tokens shared, a multiple of the block size and at most the context of
            every member; the blocks are the first of the table of `members[g, 0]`.
    """

    members: Tensor
    lengths: Tensor
