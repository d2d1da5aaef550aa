"""The interface of what is asked."""

from typing import Protocol

from client.evaluation.items import Answer, Item, Samples

Rendered = dict[int, Samples]
"""The samples of an item's sounds, by the index of their part."""


class Target(Protocol):
    """Answers items."""

    async def ask(self, item: Item, sounds: Rendered) -> Answer:
        """Ask one item, as if nothing had been said before. What goes wrong with it alone is in
        the answer's ``error``.

        Raises:
            ClientError: nothing can be asked at all.
        """
