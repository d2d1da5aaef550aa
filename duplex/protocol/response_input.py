"""The items that a response answers in place of the conversation, if the client gives any."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct, structs

from duplex.errors import ProtocolError
from duplex.protocol.codes import Code
from duplex.protocol.conversation import Conversation
from duplex.protocol.items import (
    FunctionCallOutputParam,
    FunctionCallParam,
    InputAudio,
    Item,
    ItemId,
    Message,
    MessageParam,
    check_content,
    check_words,
)

MAX_INPUT_ITEMS = 256


class ItemReference(Struct, frozen=True, tag_field="type", tag="item_reference"):
    """An item of the conversation."""

    id: ItemId


InputItem = MessageParam | FunctionCallParam | FunctionCallOutputParam | ItemReference
InputItems = Annotated[tuple[InputItem, ...], Meta(max_length=MAX_INPUT_ITEMS)]


def check_input(items: Sequence[InputItem]) -> None:
    """Refuse content that cannot be there.

    Raises:
        ProtocolError: unsupported_content_type.
    """
    for index, item in enumerate(items):
        if not isinstance(item, ItemReference):
            check_content(item, f"response.input[{index}]")


def resolve_input(items: Sequence[InputItem], conversation: Conversation) -> tuple[Item, ...]:
    """Return ``items`` as they are now; those that are no references join no conversation. They
    keep the audio that is still to be heard.

    Raises:
        ProtocolError: response_input_invalid_item_id, or unsupported_content_type for words that
            are neither there nor in audio.
    """
    resolved: list[Item] = []
    for index, item in enumerate(items):
        if not isinstance(item, ItemReference):
            check_words(item, f"response.input[{index}]")
            resolved.append(_with_audio(item, item.to_item(item.id or f"input_{index}")))
        elif item.id in conversation:
            resolved.append(conversation.retrieve(item.id))
        else:
            raise ProtocolError(
                f"The item with id '{item.id}' does not exist.",
                code=Code.INPUT_ITEM_INVALID,
                param=f"response.input[{index}].id",
            )
    return tuple(resolved)


def _with_audio(param: InputItem, item: Item) -> Item:
    if not isinstance(param, MessageParam) or not isinstance(item, Message):
        return item
    content = [
        sent if isinstance(sent, InputAudio) and sent.transcript is None else kept
        for sent, kept in zip(param.content, item.content, strict=True)
    ]
    return structs.replace(item, content=tuple(content))
