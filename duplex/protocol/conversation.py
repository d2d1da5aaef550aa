"""The items of a call, in order."""

from msgspec.structs import replace

from duplex.errors import ProtocolError
from duplex.protocol.codes import Code
from duplex.protocol.items import FunctionCall, InputAudio, Item, Message, OutputAudio

MAX_ITEMS = 2000
MAX_CHARS = 4_000_000
ROOT = "root"


def is_shown(item: Item) -> bool:
    """Whether the model is shown an item: not before it is finished, nor if it says nothing, nor
    a call that was cut off."""
    if isinstance(item, FunctionCall):
        return item.status == "completed"
    return item.status != "in_progress" and (not isinstance(item, Message) or bool(item.text))


class Conversation:
    """An ordered set of `Item`s.

    Bounded: when it holds more than ``max_items`` or ``max_chars`` of text, the oldest items are
    forgotten. That is far beyond what a model is shown; it keeps a client from filling memory.
    Every check comes before any change: what raises has changed nothing.
    """

    def __init__(self, *, max_items: int = MAX_ITEMS, max_chars: int = MAX_CHARS) -> None:
        self._max_items = max_items
        self._max_chars = max_chars
        self._items: dict[str, Item] = {}
        self._order: list[str] = []
        self._chars = 0  # of all items' text

    @property
    def items(self) -> tuple[Item, ...]:
        """All items, first to last."""
        return tuple(self._items[item_id] for item_id in self._order)

    @property
    def last_id(self) -> str | None:
        """The id of the last item."""
        return self._order[-1] if self._order else None

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._items

    def shown(self) -> list[Item]:
        """Return the items that the model is shown: finished ones that have words."""
        return [item for item in self.items if is_shown(item)]

    def check_call(self, call_id: str) -> None:
        """Refuse the output of a function that was not called.

        Raises:
            ProtocolError: item_create_invalid_call_id.
        """
        calls = (item for item in self._items.values() if isinstance(item, FunctionCall))
        if all(call.call_id != call_id for call in calls):
            raise ProtocolError(
                f"No function_call with the call_id '{call_id}' is in the conversation.",
                code=Code.ITEM_CREATE_CALL_ID,
                param="item.call_id",
            )

    def insert(self, item: Item, previous_item_id: str | None = None) -> str | None:
        """Add ``item`` after ``previous_item_id`` (None: at the end, ``root``: at the beginning).

        Returns:
            The id of the item that it now follows, None at the beginning.

        Raises:
            ProtocolError: the id is taken, the previous item is not there, or it is too large.
        """
        if item.id in self._items or item.id == ROOT:
            raise ProtocolError(
                f"An item with the id '{item.id}' already exists.",
                code=Code.ITEM_CREATE_DUPLICATE,
                param="item.id",
            )
        if previous_item_id not in (None, ROOT) and previous_item_id not in self._items:
            raise ProtocolError(
                f"The previous item '{previous_item_id}' does not exist.",
                code=Code.ITEM_CREATE_PREVIOUS,
                param="previous_item_id",
            )
        if len(item.text) > self._max_chars:
            raise ProtocolError(
                f"The item holds more than {self._max_chars} characters.",
                code=Code.ITEM_TOO_LARGE,
                param="item.content",
            )
        place = self._place(previous_item_id)
        previous = self._order[place - 1] if place else None
        self._order.insert(place, item.id)
        self._items[item.id] = item
        self._chars += len(item.text)
        self._forget_oldest(keep=item.id)
        return previous

    def retrieve(self, item_id: str) -> Item:
        """Return an item.

        Raises:
            ProtocolError: item_retrieve_invalid_item_id.
        """
        return self._get(item_id, Code.ITEM_RETRIEVE_INVALID, "retrieving")

    def delete(self, item_id: str) -> None:
        """Remove an item.

        Raises:
            ProtocolError: item_delete_invalid_item_id.
        """
        self._get(item_id, Code.ITEM_DELETE_INVALID, "deleting")
        self._remove(item_id)

    def check_truncate(self, item_id: str, content_index: int) -> Message:
        """Return the item, if `truncate` would accept it.

        Raises:
            ProtocolError: item_truncate_invalid_item_id, invalid_value (no such content) or
                unsupported_content_type (no spoken response).
        """
        item = self._get(item_id, Code.ITEM_TRUNCATE_INVALID, "truncating")
        if not isinstance(item, Message) or item.role != "assistant":
            raise ProtocolError(
                "Only the audio of assistant messages can be truncated.",
                code=Code.UNSUPPORTED_CONTENT_TYPE,
                param="item_id",
            )
        if content_index >= len(item.content):
            raise ProtocolError(
                f"The item has no content at index {content_index}.",
                code=Code.INVALID_VALUE,
                param="content_index",
            )
        if not isinstance(item.content[content_index], OutputAudio):
            raise ProtocolError(
                "Only audio content can be truncated.",
                code=Code.UNSUPPORTED_CONTENT_TYPE,
                param="content_index",
            )
        return item

    def truncate(self, item_id: str, content_index: int, heard: str) -> Message:
        """Cut the transcript of a spoken response to the words that were ``heard``.

        The caller knows which words were voiced by when; the conversation does not. An answer
        that is still being given stays cut when it finishes.

        Raises:
            ProtocolError: as `check_truncate`.
        """
        item = self.check_truncate(item_id, content_index)
        content = list(item.content)
        content[content_index] = OutputAudio(transcript=heard)
        cut = replace(item, content=tuple(content), status="incomplete")
        self._put(cut)
        return cut

    def finish(self, item: Item) -> None:
        """Put the final form of a response's words or call in the place of the unfinished one.

        Nothing happens if the client has deleted it or cut it in the meantime: what the client
        said about it stands.
        """
        stored = self._items.get(item.id)
        if stored is not None and stored.status == "in_progress":
            self._put(item)

    def set_transcript(self, item_id: str, content_index: int, transcript: str) -> None:
        """Fill in what the ear heard; nothing happens if the client has deleted the item, or
        made another in its name."""
        stored = self._items.get(item_id)
        if not isinstance(stored, Message) or content_index >= len(stored.content):
            return
        content = list(stored.content)
        part = content[content_index]
        if isinstance(part, InputAudio):
            content[content_index] = replace(part, transcript=transcript)
            self._put(replace(stored, content=tuple(content)))

    def _place(self, previous_item_id: str | None) -> int:
        if previous_item_id is None or previous_item_id == self.last_id:
            return len(self._order)
        if previous_item_id == ROOT:
            return 0
        return self._order.index(previous_item_id) + 1

    def _get(self, item_id: str, code: Code, doing: str) -> Item:
        try:
            return self._items[item_id]
        except KeyError:
            raise ProtocolError(
                f"Error {doing} item: the item with id '{item_id}' does not exist.",
                code=code,
                param="item_id",
            ) from None

    def _put(self, item: Item) -> None:
        self._chars += len(item.text) - len(self._items[item.id].text)
        self._items[item.id] = item
        self._forget_oldest(keep=item.id)

    def _remove(self, item_id: str) -> None:
        self._chars -= len(self._items.pop(item_id).text)
        self._order.remove(item_id)

    def _forget_oldest(self, keep: str) -> None:
        while len(self._order) > self._max_items or self._chars > self._max_chars:
            oldest = next((item_id for item_id in self._order if item_id != keep), None)
            if oldest is None:
                return
            self._remove(oldest)
